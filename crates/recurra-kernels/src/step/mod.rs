//! One time step of a whole network for a few streams: what writing one token takes.
//!
//! Writing reads every weight once for every token, so it is as fast as weights come from the caches. Therefore they are laid
//! out once ([`Weights`], in `f32`, `bf16` or `i8`), so that each thread reads its part from the first byte to the last; a
//! step takes no memory ([`Stepper`] holds states and buffers); and all layers are one piece of work for the team, whose
//! members own some hidden units with all their gates, and meet at a barrier after each layer.
//!
//! In `f32` a step has the bits of [`lstm`](crate::lstm), [`gru`](crate::gru) and [`rnn`](crate::rnn) on the same instruction
//! set (AVX-512 in place of AMX, which multiplies `bf16`). With `bf16` weights are rounded, and for several streams in the
//! matrix unit inputs too. With `i8` each row of a matrix has one scale, each row of inputs another; their products are
//! whole numbers, so a stream has the same bits alone and among others.
//!
//! No bit depends on the number of threads.

mod bytes;
mod cell;
mod kernels;
mod layout;
mod likeliest;
mod member;
mod noise;
mod plain;
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))] // only AVX-512 has loops over planes
mod planes;
mod product;
mod quantize;
mod remembered;
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))] // only AVX-512 has loops over planes
mod screen;
mod softmax;
mod stepper;
mod vector;
mod weights;

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
pub mod reference;

pub use crate::layer::CellKind;
pub use likeliest::Likeliest;
pub use noise::Noise;
pub use remembered::Inputs;
pub use softmax::{exponentials, log_sum_exp, place_of, sum};
pub use stepper::Stepper;
pub use weights::{LayerWeights, OutputWeights, Weights};

use std::fmt;

#[cfg(test)]
mod tests;

/// How weights are stored for single steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Storage {
    /// As they are.
    F32,
    /// Rounded to 8 bits of mantissa.
    Bf16,
    /// Whole numbers −127..=127 with a scale a row; inputs likewise, a scale each time.
    Int8,
}

impl Storage {
    /// All of them, the largest first.
    pub const ALL: [Storage; 3] = [Storage::F32, Storage::Bf16, Storage::Int8];

    /// The fastest everywhere, because a step waits for its weights.
    pub const FASTEST: Storage = Storage::Int8;

    /// Its name in flags, scores and reports.
    pub fn name(self) -> &'static str {
        match self {
            Storage::F32 => "f32",
            Storage::Bf16 => "bf16",
            Storage::Int8 => "int8",
        }
    }

    /// Bytes of a weight.
    pub fn bytes(self) -> usize {
        4 / self.values_a_step()
    }

    /// Values of one output that are side by side.
    fn values_a_step(self) -> usize {
        match self {
            Storage::F32 => 1,
            Storage::Bf16 => 2,
            Storage::Int8 => 4,
        }
    }
}

impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
