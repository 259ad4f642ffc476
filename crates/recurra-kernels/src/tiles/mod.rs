//! Tiles: how operands of `bf16` lie, for the two units that multiply them.
//!
//! A tile of A is 16 rows of 32 steps of k, one of B 16 rows that each hold a pair of k for 16 columns, a KiB each. Both units
//! add c_mn += a_m,2k · b_2k,n + a_m,2k+1 · b_2k+1,n, k going up: AMX a whole tile with one instruction, AVX-512 the pairs of a
//! row of A and a row of B. They group the additions of a tile in their own ways, so sums differ in their last bits.

pub(crate) mod amx;
#[cfg(target_arch = "x86_64")]
pub(crate) mod dots;
#[cfg(target_arch = "x86_64")]
pub(crate) mod layout;
#[cfg(all(test, target_arch = "x86_64"))]
mod reference;
#[cfg(all(test, target_arch = "x86_64"))]
mod tests;

/// What multiplies tiles.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// The matrix unit.
    Amx,
    /// Registers of sixteen sums.
    Dots,
}

#[cfg(target_arch = "x86_64")]
impl Unit {
    /// The one of an instruction set, where that multiplies `bf16`.
    pub(crate) fn of(isa: crate::Isa) -> Option<Self> {
        match isa {
            crate::Isa::Amx => Some(Unit::Amx),
            crate::Isa::Avx512Bf16 => Some(Unit::Dots),
            _ => None,
        }
    }
}

/// Bytes of a row of a tile.
#[cfg(target_arch = "x86_64")]
pub(crate) const ROW_BYTES: usize = 64;
/// Rows of a tile.
#[cfg(target_arch = "x86_64")]
pub(crate) const ROWS: usize = 16;

/// Steps of k in a tile.
#[cfg(target_arch = "x86_64")]
pub(crate) const DEPTH: usize = 32;
/// Units of the size of an `f32` in a tile.
#[cfg(target_arch = "x86_64")]
pub(crate) const TILE: usize = ROWS * ROW_BYTES / 4;
