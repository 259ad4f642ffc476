//! Random bits as a function of a key and a position: nothing is stored, and the same come everywhere.
//!
//! The hash is three rounds of multiply and shift (constants of `triple32`, Wellons, 2018) with one half of the scrambled
//! key added before the first and the other half after it: 32-bit operations only, which every instruction set has for
//! whole vectors.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014): keys that differ in one bit come to differ in all 64.
pub fn mixed(key: u64) -> u64 {
    let z = (key ^ (key >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A key made ready for the loops.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Counter([u32; 2]);

impl Counter {
    /// Neighbouring keys give unrelated bits.
    pub fn new(key: u64) -> Self {
        let z = mixed(key.wrapping_add(0x9e37_79b9_7f4a_7c15));
        Self([z as u32, (z >> 32) as u32])
    }

    /// The bits of a position.
    #[inline(always)]
    pub fn at(self, position: u32) -> u32 {
        let mut x = position.wrapping_add(self.0[0]);
        x = (x ^ (x >> 17)).wrapping_mul(0xed5a_d4bb).wrapping_add(self.0[1]);
        x = (x ^ (x >> 11)).wrapping_mul(0xac4c_1b51);
        x = (x ^ (x >> 15)).wrapping_mul(0x3184_8bab);
        x ^ (x >> 14)
    }

    /// The bits of sixteen positions from `first` on: [`at`](Self::at) of each.
    ///
    /// # Safety
    /// The machine has AVX-512.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub unsafe fn at_sixteen(self, first: u32) -> __m512i {
        // SAFETY: by this function's contract.
        unsafe {
            let lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
            let mut x = _mm512_add_epi32(splat(first.wrapping_add(self.0[0])), lanes);
            x = _mm512_xor_si512(x, _mm512_srli_epi32::<17>(x));
            x = _mm512_add_epi32(_mm512_mullo_epi32(x, splat(0xed5a_d4bb)), splat(self.0[1]));
            x = _mm512_xor_si512(x, _mm512_srli_epi32::<11>(x));
            x = _mm512_mullo_epi32(x, splat(0xac4c_1b51));
            x = _mm512_xor_si512(x, _mm512_srli_epi32::<15>(x));
            x = _mm512_mullo_epi32(x, splat(0x3184_8bab));
            _mm512_xor_si512(x, _mm512_srli_epi32::<14>(x))
        }
    }
}

/// The same number in sixteen lanes.
///
/// # Safety
/// The machine has AVX-512.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn splat(x: u32) -> __m512i {
    // SAFETY: by this function's contract.
    unsafe { _mm512_set1_epi32(x.cast_signed()) }
}
