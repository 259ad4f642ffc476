//! The loops of an instruction set, and which of them a step takes.

use super::cell::Finish;
use super::layout::{Line, LineHeader};
use super::likeliest::{Lanes, Search};
use super::noise::Noise;
use super::product::Product;
use super::{Storage, plain};
use crate::Isa;
use std::sync::OnceLock;

/// The loops of one instruction set for one storage and a number of rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kernels {
    /// What inputs are before they are multiplied.
    pub input: Input,
    /// Makes that of a row of `f32`, and gives its scale; fills the rest of `to` with zeros.
    pub prepare: unsafe fn(row: &[f32], to: &mut [u8]) -> f32,
    pub multiply: unsafe fn(&Product<'_>),
    /// The same without what makes values of whole numbers, where [`finish`](Self::finish) does that in registers.
    pub sum: Option<unsafe fn(&Product<'_>)>,
    /// Cells; gates of weights that were rounded need not be exact to the last bit.
    pub finish: unsafe fn(&Finish<'_>),
    /// As [`Lanes::look`].
    pub look: unsafe fn(&mut Lanes, logits: &[f32], first: usize, is_backward: bool),
    /// Multiplies and looks at once, where that is faster than one after the other.
    pub find: Option<unsafe fn(&mut Search<'_>)>,
    /// As [`Noise::add`].
    pub disturb: unsafe fn(&Noise, logits: &mut [f32], first: usize),
    /// As [`softmax::exponentials`](super::exponentials).
    pub exponentials: unsafe fn(values: &mut [f32], largest: f32, scale: f32),
    /// As [`layout::lay_out_int8`](super::layout::lay_out_int8).
    pub lay_out_int8: LayOut,
    /// What a thread does before the first product of so many rows, and after the last.
    pub enter: unsafe fn(n_rows: usize),
    pub leave: unsafe fn(),
}

/// As [`layout::lay_out_int8`](super::layout::lay_out_int8).
pub(super) type LayOut =
    unsafe fn(rows: &[f32], depth: usize, weights: &mut [Line], n_lines: usize) -> LineHeader;

/// What a product reads of its inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// The values as they are.
    F32,
    /// Rounded to `bf16`.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))] // for tiles only
    Bf16,
    /// Whole numbers with an offset, and a scale a row.
    U8,
}

impl Input {
    /// Bytes from one prepared row of `depth` values to the next: whole tiles, and an odd number of cache lines, because
    /// rows whose distance is a power of two would push each other out of the first cache.
    pub fn row_bytes(self, depth: usize) -> usize {
        let bytes = match self {
            Input::F32 => 0,
            Input::Bf16 => 2 * depth,
            Input::U8 => depth,
        };
        (bytes.div_ceil(64) | 1) * 64
    }
}

/// Rows from which the matrix unit is faster than vectors (measured).
#[cfg(target_arch = "x86_64")]
const ROWS_FOR_TILES: usize = 4;

impl Kernels {
    /// The loops for `n_rows` streams.
    #[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables))] // for tiles only
    pub fn of(isa: Isa, storage: Storage, n_rows: usize) -> Self {
        match (isa, storage) {
            #[cfg(target_arch = "x86_64")]
            (Isa::Amx, Storage::Int8) if n_rows >= ROWS_FOR_TILES => super::amx::int8(),
            #[cfg(target_arch = "x86_64")]
            (Isa::Amx, Storage::Bf16) if n_rows >= ROWS_FOR_TILES => super::amx::bf16(),
            #[cfg(target_arch = "x86_64")]
            (Isa::Amx | Isa::Avx512Bf16 | Isa::Avx512, storage) => super::avx512::kernels(storage),
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx2, storage) => super::avx2::kernels(storage),
            #[cfg(target_arch = "aarch64")]
            (Isa::Neon, storage) => super::neon::kernels(storage),
            (_, storage) => plain::kernels(storage),
        }
    }
}

/// The loops for what has the same bits with every instruction set: those of the one that was asked for, or of the best.
pub(super) fn best() -> Kernels {
    static BEST: OnceLock<Kernels> = OnceLock::new();
    *BEST.get_or_init(|| Kernels::of(Isa::chosen(None).unwrap_or(Isa::Plain), Storage::F32, 1))
}

/// Rows that are multiplied as they are.
pub(super) unsafe fn as_it_is(_row: &[f32], _to: &mut [u8]) -> f32 {
    unreachable!("inputs that stay as they are")
}

/// Nothing to do before the first product.
pub(super) unsafe fn enter_nothing(_n_rows: usize) {}

/// Nothing to do after the last.
pub(super) unsafe fn leave_nothing() {}

/// The loops over vectors of one instruction set, instantiated with its features, and with gates for rounded weights.
macro_rules! loops {
    ($vector:ty, $n:literal, $multiply_int8:expr, $rounded:ty, [$($feature:meta)?]) => {
        /// The loops for weights of this storage.
        pub(super) fn kernels(storage: super::Storage) -> super::kernels::Kernels {
            use super::kernels::{Input, Kernels, as_it_is, enter_nothing, leave_nothing};
            use super::Storage;
            Kernels {
                input: if storage == Storage::Int8 { Input::U8 } else { Input::F32 },
                prepare: if storage == Storage::Int8 { quantize } else { as_it_is },
                multiply: match storage {
                    Storage::F32 => multiply::<false>,
                    Storage::Bf16 => multiply::<true>,
                    Storage::Int8 => $multiply_int8,
                },
                sum: None,
                finish: match storage {
                    Storage::F32 => finish::<crate::simd::math::Exact>,
                    Storage::Bf16 | Storage::Int8 => finish::<$rounded>,
                },
                look,
                find: None,
                disturb,
                exponentials,
                lay_out_int8,
                enter: enter_nothing,
                leave: leave_nothing,
            }
        }

        $(#[$feature])?
        unsafe fn multiply<const PAIRS: bool>(product: &super::product::Product<'_>) {
            // SAFETY: the caller's contract is the same.
            unsafe { super::vector::multiply::<$vector, $n, PAIRS>(product) }
        }

        $(#[$feature])?
        unsafe fn finish<F: crate::simd::math::GateFunctions<$vector>>(
            finish: &super::cell::Finish<'_>,
        ) {
            // SAFETY: the caller's contract is the same.
            unsafe { super::cell::finish::<$vector, F>(finish) }
        }

        $(#[$feature])?
        unsafe fn look(
            lanes: &mut super::likeliest::Lanes,
            logits: &[f32],
            first: usize,
            is_backward: bool,
        ) {
            lanes.look(logits, first, is_backward);
        }

        $(#[$feature])?
        unsafe fn disturb(noise: &super::Noise, logits: &mut [f32], first: usize) {
            noise.add_to(logits, first);
        }

        $(#[$feature])?
        unsafe fn exponentials(values: &mut [f32], largest: f32, scale: f32) {
            // SAFETY: the caller's contract is the same.
            unsafe { super::softmax::exponentials_of::<$vector>(values, largest, scale) }
        }

        $(#[$feature])?
        unsafe fn lay_out_int8(
            rows: &[f32],
            depth: usize,
            weights: &mut [super::layout::Line],
            n_lines: usize,
        ) -> super::layout::LineHeader {
            super::layout::lay_out_int8(rows, depth, weights, n_lines)
        }

        $(#[$feature])?
        unsafe fn quantize(row: &[f32], to: &mut [u8]) -> f32 {
            super::quantize::quantize(row, to)
        }
    };
}

pub(super) use loops;
