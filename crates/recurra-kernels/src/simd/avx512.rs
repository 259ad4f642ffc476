//! Sixteen lanes with AVX-512 (F, BW, DQ, VL).

use super::Vector;
use std::arch::x86_64::*;

/// A 512-bit register.
#[derive(Clone, Copy, Debug)]
pub struct Avx512(__m512);

impl From<__m512> for Avx512 {
    #[inline(always)]
    fn from(values: __m512) -> Self {
        Self(values)
    }
}

/// The mask of the first n lanes.
#[inline(always)]
fn first(n: usize) -> __mmask16 {
    ((1_u32 << n) - 1) as __mmask16
}

impl Avx512 {
    /// The first `n ≤ 16` lanes, rounded to `bf16`, to `to`.
    ///
    /// # Safety
    /// As for [`Vector`], and the machine has AVX-512 with `bf16`.
    #[inline(always)]
    pub(crate) unsafe fn store_bf16(self, to: *mut u16, n: usize) {
        // SAFETY: by this function's contract; masked lanes are not written.
        unsafe {
            let rounded = std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(self.0));
            _mm256_mask_storeu_epi16(to.cast(), first(n), rounded);
        }
    }

    /// The lanes whose hash lies below `bound`, zero in the others.
    ///
    /// # Safety
    /// As for [`Vector`].
    #[inline(always)]
    pub(crate) unsafe fn where_below(self, hash: __m512i, bound: u32) -> Self {
        // SAFETY: by this function's contract.
        unsafe {
            let kept = _mm512_cmplt_epu32_mask(hash, _mm512_set1_epi32(bound.cast_signed()));
            Self(_mm512_maskz_mov_ps(kept, self.0))
        }
    }

    /// x − ⌊x⌋.
    ///
    /// # Safety
    /// As for [`Vector`].
    #[inline(always)]
    pub(crate) unsafe fn fraction(self) -> Self {
        // SAFETY: by this function's contract.
        Self(unsafe { _mm512_reduce_ps::<{ _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC }>(self.0) })
    }

    /// This times 2 to the whole part of `exponent`.
    ///
    /// # Safety
    /// As for [`Vector`].
    #[inline(always)]
    pub(crate) unsafe fn times_exp2_of_floor(self, exponent: Self) -> Self {
        // SAFETY: by this function's contract.
        Self(unsafe { _mm512_scalef_ps(self.0, exponent.0) })
    }

    /// Sixteen values of `f16`.
    ///
    /// # Safety
    /// As for [`Vector`]; sixteen values are there.
    #[inline(always)]
    pub(crate) unsafe fn load_f16(from: *const u16) -> Self {
        // SAFETY: by this function's contract.
        Self(unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) })
    }

    /// All lanes, rounded to `f16`.
    ///
    /// # Safety
    /// As for [`Vector`]; there is room for sixteen values.
    #[inline(always)]
    pub(crate) unsafe fn store_f16(self, to: *mut u16) {
        // SAFETY: by this function's contract.
        unsafe {
            let rounded =
                _mm512_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(self.0);
            _mm256_storeu_si256(to.cast(), rounded);
        }
    }

    /// Values beyond the largest `f16` become that.
    ///
    /// # Safety
    /// As for [`Vector`].
    #[inline(always)]
    pub(crate) unsafe fn within_f16(self) -> Self {
        const LARGEST: f32 = 65504.0;
        // SAFETY: by this function's contract.
        unsafe { self.min(Self::splat(LARGEST)).max(Self::splat(-LARGEST)) }
    }

    /// Two vectors, rounded to `bf16`.
    ///
    /// # Safety
    /// As for [`Vector`], and the machine has AVX-512 with `bf16`.
    #[inline(always)]
    pub(crate) unsafe fn round_two(first: Self, second: Self) -> TwoRounded {
        // SAFETY: by this function's contract; both types are 64 bytes without a meaning of their own.
        TwoRounded(unsafe {
            std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(second.0, first.0))
        })
    }

    /// The sixteen values whose bits these are.
    #[inline(always)]
    pub(crate) fn from_bits(bits: __m512i) -> Self {
        // SAFETY: both types are 64 bytes without a meaning of their own.
        Self(unsafe { std::mem::transmute::<__m512i, __m512>(bits) })
    }
}

/// Two vectors of `bf16`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TwoRounded(__m512i);

// SAFETY of every block below: as for `Vector`; there is room for what is stored.
#[allow(clippy::missing_safety_doc)] // said once, above
impl TwoRounded {
    /// The first vector.
    #[inline(always)]
    pub(crate) unsafe fn store_first(self, to: *mut u16) {
        // SAFETY: as above.
        unsafe { _mm256_storeu_si256(to.cast(), _mm512_castsi512_si256(self.0)) }
    }

    /// The second vector.
    #[inline(always)]
    pub(crate) unsafe fn store_second(self, to: *mut u16) {
        // SAFETY: as above.
        unsafe { _mm256_storeu_si256(to.cast(), _mm512_extracti64x4_epi64::<1>(self.0)) }
    }

    /// The values of both in turn: sixteen pairs.
    #[inline(always)]
    pub(crate) unsafe fn store_pairs(self, to: *mut f32) {
        // SAFETY: as above.
        unsafe {
            _mm512_storeu_si512(to.cast(), self.pairs());
        }
    }

    /// The values of both in turn.
    #[inline(always)]
    pub(crate) unsafe fn pairs(self) -> __m512i {
        // SAFETY: as above.
        unsafe {
            let order = _mm512_set_epi16(
                31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5,
                20, 4, 19, 3, 18, 2, 17, 1, 16, 0,
            );
            _mm512_permutexvar_epi16(order, self.0)
        }
    }
}

// SAFETY of every block below: AVX-512, and readable or writable places, by the contract of `Vector`.
impl Vector for Avx512 {
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn prefetch(from: *const f32) {
        // SAFETY: a hint; the address need not exist.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_set1_ps(x) })
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_loadu_ps(from) })
    }
    #[inline(always)]
    unsafe fn load_bf16_pairs(from: *const u32) -> [Self; 2] {
        // SAFETY: as above.
        unsafe {
            let pairs = _mm512_loadu_si512(from.cast());
            let first = _mm512_slli_epi32::<16>(pairs);
            let second = _mm512_and_si512(pairs, _mm512_set1_epi32(-0x1_0000));
            [Self(_mm512_castsi512_ps(first)), Self(_mm512_castsi512_ps(second))]
        }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as above.
        unsafe { _mm512_storeu_ps(to, self.0) }
    }
    #[inline(always)]
    unsafe fn load_first(from: *const f32, n: usize) -> Self {
        // SAFETY: as above; masked lanes are not read.
        Self(unsafe { _mm512_maskz_loadu_ps(first(n), from) })
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, n: usize) {
        // SAFETY: as above; masked lanes are not written.
        unsafe { _mm512_mask_storeu_ps(to, first(n), self.0) }
    }
    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_add_ps(self.0, b.0) })
    }
    #[inline(always)]
    unsafe fn sub(self, b: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_sub_ps(self.0, b.0) })
    }
    #[inline(always)]
    unsafe fn mul(self, b: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_mul_ps(self.0, b.0) })
    }
    #[inline(always)]
    unsafe fn div(self, b: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_div_ps(self.0, b.0) })
    }
    /// y ← y + y·(1 − x·y), one step of Newton from 14 bits: a division keeps its unit busy four times as long.
    #[inline(always)]
    unsafe fn reciprocal(self) -> Self {
        // SAFETY: as above.
        unsafe {
            let y = _mm512_rcp14_ps(self.0);
            let rest = _mm512_fnmadd_ps(self.0, y, _mm512_set1_ps(1.0));
            Self(_mm512_fmadd_ps(y, rest, y))
        }
    }
    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_fmadd_ps(self.0, b.0, c.0) })
    }
    #[inline(always)]
    unsafe fn max(self, b: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_max_ps(self.0, b.0) })
    }
    #[inline(always)]
    unsafe fn min(self, b: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_min_ps(self.0, b.0) })
    }
    #[inline(always)]
    unsafe fn abs(self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_abs_ps(self.0) })
    }
    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_sqrt_ps(self.0) })
    }
    #[inline(always)]
    unsafe fn round(self) -> Self {
        // SAFETY: as above.
        Self(unsafe {
            _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(self.0)
        })
    }
    #[inline(always)]
    unsafe fn exp2_of_whole(self) -> Self {
        // SAFETY: as above.
        Self(unsafe {
            let exponent = _mm512_add_epi32(_mm512_cvtps_epi32(self.0), _mm512_set1_epi32(127));
            _mm512_castsi512_ps(_mm512_slli_epi32::<23>(exponent))
        })
    }
    #[inline(always)]
    unsafe fn select_less(self, bound: Self, below: Self, otherwise: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe {
            let less = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(self.0, bound.0);
            _mm512_mask_blend_ps(less, otherwise.0, below.0)
        })
    }
    #[inline(always)]
    unsafe fn with_sign_of(self, sign: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe {
            let bit = _mm512_set1_ps(-0.0);
            _mm512_or_ps(_mm512_and_ps(bit, sign.0), _mm512_andnot_ps(bit, self.0))
        })
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        // SAFETY: as above.
        unsafe { _mm512_reduce_add_ps(self.0) }
    }
    #[inline(always)]
    unsafe fn largest(self) -> f32 {
        // SAFETY: as above.
        unsafe { _mm512_reduce_max_ps(self.0) }
    }
}
