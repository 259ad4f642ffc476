//! What a kernel needs of a vector of `f32`.

/// A register of [`LANES`](Vector::LANES) values of `f32`.
///
/// # Safety
/// Every function requires that the machine has the instruction set of the type; all are meant to be inlined into a
/// function that enables it with `#[target_feature]`. Pointers need no alignment.
#[allow(clippy::missing_safety_doc)] // said once, above
pub trait Vector: Copy {
    /// How many values it holds.
    const LANES: usize;

    /// Asks for the line that holds `from`, which need not exist: `wrapping_add` makes such a pointer.
    #[inline(always)]
    unsafe fn prefetch(_from: *const f32) {}
    /// `x` in every lane.
    unsafe fn splat(x: f32) -> Self;
    /// `LANES` values from `from`.
    unsafe fn load(from: *const f32) -> Self;
    /// `LANES` pairs of `bf16` from `from`: the first of each, and the second.
    #[inline(always)]
    unsafe fn load_bf16_pairs(from: *const u32) -> [Self; 2] {
        const MOST_LANES: usize = 16;
        let mut halves = [[0.0; MOST_LANES]; 2];
        // SAFETY: by the contract of this trait.
        unsafe {
            let [first, second] = &mut halves;
            for (lane, (first, second)) in first.iter_mut().zip(second).enumerate() {
                if lane < Self::LANES {
                    let pair = from.add(lane).read_unaligned();
                    *first = f32::from_bits(pair << 16);
                    *second = f32::from_bits(pair & 0xffff_0000);
                }
            }
            halves.map(|half| Self::load(half.as_ptr()))
        }
    }
    /// `LANES` values to `to`.
    unsafe fn store(self, to: *mut f32);
    /// The first `n ≤ LANES` values from `from`, the other lanes zero; reads nothing past them.
    unsafe fn load_first(from: *const f32, n: usize) -> Self;
    /// The first `n ≤ LANES` lanes to `to`; writes nothing past them.
    unsafe fn store_first(self, to: *mut f32, n: usize);
    /// Lane by lane `self + b`.
    unsafe fn add(self, b: Self) -> Self;
    /// Lane by lane `self − b`.
    unsafe fn sub(self, b: Self) -> Self;
    /// Lane by lane `self · b`.
    unsafe fn mul(self, b: Self) -> Self;
    /// Lane by lane `self / b`.
    unsafe fn div(self, b: Self) -> Self;
    /// Lane by lane 1 / self, within two units in the last place; 0 where that is too small for a normal number.
    #[inline(always)]
    unsafe fn reciprocal(self) -> Self {
        // SAFETY: by the contract of this trait.
        unsafe { Self::splat(1.0).div(self) }
    }
    /// Lane by lane `self · b + c`, rounded once where the machine can.
    unsafe fn mul_add(self, b: Self, c: Self) -> Self;
    /// Lane by lane the larger (`b` when `self` is not a number).
    unsafe fn max(self, b: Self) -> Self;
    /// Lane by lane the smaller (`b` when `self` is not a number).
    unsafe fn min(self, b: Self) -> Self;
    /// Lane by lane |x|.
    unsafe fn abs(self) -> Self;
    /// Lane by lane √x.
    unsafe fn sqrt(self) -> Self;
    /// Lane by lane the nearest whole number, ties to even.
    unsafe fn round(self) -> Self;
    /// Lane by lane 2ⁿ of a whole number n in −126..=127.
    unsafe fn exp2_of_whole(self) -> Self;
    /// Lane by lane: `below` where `self < bound`, else `otherwise`.
    unsafe fn select_less(self, bound: Self, below: Self, otherwise: Self) -> Self;
    /// Lane by lane |self| with the sign of `sign`.
    unsafe fn with_sign_of(self, sign: Self) -> Self;
    /// The sum of all lanes, always in the same order.
    unsafe fn sum(self) -> f32;
    /// The largest lane.
    unsafe fn largest(self) -> f32;
}
