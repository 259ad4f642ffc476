//! Number loops on slices: one folder an operation, one file an instruction set. Home of `unsafe`.
