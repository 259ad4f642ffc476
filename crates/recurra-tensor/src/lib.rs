//! Tensors, the gradient tape, parameters, random numbers; the only caller of the kernels.
