//! The program `recurra`: one file a command. The only crate that prints.

fn main() {}
