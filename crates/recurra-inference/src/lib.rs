//! What a model can do: score, generate, inspect. Changes no weight.
