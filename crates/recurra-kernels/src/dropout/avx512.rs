//! Four vectors of sixteen lanes on x86-64.

use super::{Prepared, vector};
use crate::simd::{Avx512, Vector};

impl Prepared {
    /// Sixteen values through the mask, the first at `position`.
    ///
    /// # Safety
    /// The machine has AVX-512.
    #[inline(always)]
    pub(crate) unsafe fn through(self, values: Avx512, position: u32) -> Avx512 {
        // SAFETY: by this function's contract.
        unsafe {
            let hash = self.counter.at_sixteen(position);
            values.mul(Avx512::splat(self.scale as f32)).where_below(hash, self.threshold)
        }
    }
}

/// [`vector::apply`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub fn apply(mask: Prepared, start: u32, values: &mut [f32]) {
    vector::apply::<64>(mask, start, values);
}
