//! The commands, one a file: arguments → settings → run → exit status.

pub mod bench;
pub mod compare;
pub mod doctor;
pub mod eval;
pub mod generate;
pub mod info;
pub mod train;
