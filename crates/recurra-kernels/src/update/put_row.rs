//! A row of a gradient on its way to memory: where it is large past the caches, and with the squares that the norm wants.

use std::arch::x86_64::*;

/// Values of a vector.
const LANES: usize = 16;

/// A row of a gradient.
pub(crate) struct Row<'a> {
    /// In whole vectors; what lies past the row is not read.
    pub from: &'a [f32],
    pub to: &'a mut [f32],
    /// Whether it is added to what is there.
    pub adds: bool,
    /// Whether it goes past the caches, which nothing that is added to does; then a fence comes before others read it.
    pub is_far: bool,
}

impl Row<'_> {
    /// Copies or adds it; Σ x² of the row as it then is.
    ///
    /// # Safety
    /// The machine has AVX-512.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    pub unsafe fn put(self) -> f64 {
        let Self { from, to, adds, is_far } = self;
        let n = to.len();
        assert!(from.len() >= n, "a row of {n} from {}", from.len());
        let mut sums = [_mm512_setzero_pd(); 2];
        for at in (0..n).step_by(LANES) {
            let mask = first(n - at);
            // SAFETY: masks keep to the row.
            unsafe {
                let mut x = _mm512_maskz_loadu_ps(mask, from.as_ptr().add(at));
                if adds {
                    x = _mm512_add_ps(x, _mm512_maskz_loadu_ps(mask, to.as_ptr().add(at)));
                }
                if !is_far {
                    _mm512_mask_storeu_ps(to.as_mut_ptr().add(at), mask, x);
                }
                let low = _mm512_cvtps_pd(_mm512_castps512_ps256(x));
                let high = _mm512_cvtps_pd(_mm512_extractf32x8_ps::<1>(x));
                sums[0] = _mm512_fmadd_pd(low, low, sums[0]);
                sums[1] = _mm512_fmadd_pd(high, high, sums[1]);
            }
        }
        if is_far {
            // SAFETY: both have `n` values.
            unsafe { stream(from.as_ptr(), to.as_mut_ptr(), n) };
        }
        _mm512_reduce_add_pd(_mm512_add_pd(sums[0], sums[1]))
    }
}

/// What rows wrote past the caches is seen by other threads from here on, once they see anything written later.
pub(crate) fn fence() {
    // SAFETY: SSE, which every x86-64 has.
    unsafe { _mm_sfence() }
}

/// The mask of the first `n` lanes, or all.
#[inline]
pub(crate) fn first(n: usize) -> __mmask16 {
    ((1_u32 << n.min(LANES)) - 1) as __mmask16
}

/// Copies past the caches.
///
/// # Safety
/// `len` values are readable and writable; the machine has AVX-512.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn stream(from: *const f32, to: *mut f32, len: usize) {
    let first = to.align_offset(4 * LANES).min(len);
    let whole = (len - first) / LANES * LANES;
    // SAFETY: by this function's contract.
    unsafe {
        to.copy_from_nonoverlapping(from, first);
        for at in (first..first + whole).step_by(LANES) {
            _mm512_stream_ps(to.add(at), _mm512_loadu_ps(from.add(at)));
        }
        let rest = first + whole;
        to.add(rest).copy_from_nonoverlapping(from.add(rest), len - rest);
    }
}
