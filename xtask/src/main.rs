//! The project's own tools: benchmarks against peers, golden numbers, tidy tests.

fn main() {}
