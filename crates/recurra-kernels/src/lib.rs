//! Number loops on slices: one folder an operation, one file an instruction set. Home of `unsafe`.
//!
//! Every operation has a plain [`reference`](matmul) that reads like its formula and works in `f32` and `f64`, and fast
//! paths that are checked against it at odd sizes. The fast paths are written once over [`simd::Vector`] and compiled for
//! each instruction set in a file of that name. [`Cpu`] says which one runs, and on how many threads.
//!
//! The same numbers come out for any number of threads: work is cut into pieces that do not depend on it, and each output
//! element is summed by one thread in one order.
#![warn(missing_docs)]

pub mod activation;
pub mod attention;
pub mod column_sum;
mod counter;
mod cpu;
pub mod cross_entropy;
pub mod dropout;
mod element;
pub mod embedding;
pub mod gru;
mod isa;
mod large_pages;
#[cfg_attr(not(target_arch = "x86_64"), path = "layer/elsewhere.rs")]
pub mod layer;
pub mod lstm;
pub mod matmul;
pub mod mlstm;
pub mod mogrifier;
pub mod muon;
pub mod norm;
pub mod peak;
pub mod penalty;
pub mod pointwise;
mod pool;
pub mod recurrent;
mod retreat;
pub mod rnn;
pub mod row_scale;
pub mod scan;
mod shared_slice;
pub mod simd;
pub mod slstm;
pub mod squared_error;
pub mod step;
pub mod taps;
mod tiles;
pub mod update;

pub use counter::mixed;
pub use cpu::Cpu;
pub use element::Element;
pub use isa::{Isa, IsaError, Precision};
pub use large_pages::prefer_large_pages;
pub use pool::{Pool, Worker};
pub use shared_slice::SharedSlice;
