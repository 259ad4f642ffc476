//! The program from outside: what it reads, writes, prints, and how it ends.

mod arguments;
mod bad_input;
mod interruption;
mod outcome;
mod whole_path;
