//! Every vector type of this machine against plain `f64` arithmetic.

use super::*;

/// Runs `f::<V>` for every vector type this machine has.
macro_rules! on_every_isa {
    ($f:ident) => {{
        // SAFETY: plain Rust.
        unsafe { $f::<Plain>("plain") };
        #[cfg(target_arch = "x86_64")]
        {
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2() {
                // SAFETY: called only where AVX2 is there.
                unsafe { $f::<Avx2>("avx2") }
            }
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
            unsafe fn avx512() {
                // SAFETY: called only where AVX-512 is there.
                unsafe { $f::<Avx512>("avx512") }
            }
            if crate::Isa::Avx2.is_available() {
                // SAFETY: just checked.
                unsafe { avx2() }
            }
            if crate::Isa::Avx512.is_available() {
                // SAFETY: just checked.
                unsafe { avx512() }
            }
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: NEON is part of the base of 64-bit ARM.
        unsafe {
            $f::<Neon>("neon")
        };
    }};
}

#[inline(always)]
unsafe fn lanes<V: Vector>(v: V) -> Vec<f32> {
    let mut out = vec![0.0; V::LANES];
    // SAFETY: room for `LANES` values.
    unsafe { v.store(out.as_mut_ptr()) };
    out
}

#[inline(always)]
unsafe fn from_fn<V: Vector>(f: impl Fn(usize) -> f32) -> V {
    let values: Vec<f32> = (0..V::LANES).map(f).collect();
    // SAFETY: `LANES` values are there.
    unsafe { V::load(values.as_ptr()) }
}

#[inline(always)]
unsafe fn arithmetic<V: Vector>(name: &str) {
    // SAFETY: the caller has checked the instruction set.
    unsafe {
        let a: V = from_fn(|lane| lane as f32 - 2.5);
        let b: V = from_fn(|lane| 0.5 + lane as f32);
        let each = |v: V, expected: &dyn Fn(f32, f32) -> f32, what: &str| {
            for (lane, value) in lanes(v).into_iter().enumerate() {
                assert_eq!(
                    value,
                    expected(lane as f32 - 2.5, 0.5 + lane as f32),
                    "{name} {what} lane {lane}"
                );
            }
        };
        each(a.add(b), &|a, b| a + b, "add");
        each(a.sub(b), &|a, b| a - b, "sub");
        each(a.mul(b), &|a, b| a * b, "mul");
        each(a.div(b), &|a, b| a / b, "div");
        let far = lanes(b.reciprocal()).into_iter().zip(lanes(b));
        let far = far.map(|(y, x)| (y * x - 1.0).abs());
        assert!(far.into_iter().all(|far| far < 3e-7), "{name} reciprocal");
        each(a.mul_add(b, a), &|a, b| a * b + a, "mul_add");
        each(a.max(b), &f32::max, "max");
        each(a.min(b), &f32::min, "min");
        each(a.abs(), &|a, _| a.abs(), "abs");
        each(b.sqrt(), &|_, b| b.sqrt(), "sqrt");
        each(a.round(), &|a, _| a.round_ties_even(), "round");
        each(a.round().exp2_of_whole(), &|a, _| a.round_ties_even().exp2(), "exp2");
        each(b.with_sign_of(a), &|a, b| b.copysign(a), "sign");
        each(a.select_less(V::splat(1.0), b, a), &|a, b| if a < 1.0 { b } else { a }, "select");
        let n = V::LANES as f32;
        assert_eq!(a.sum(), n * (n - 1.0) / 2.0 - 2.5 * n, "{name} sum");
        assert_eq!(a.largest(), n - 3.5, "{name} largest");
        assert_eq!(a.sub(V::splat(100.0)).largest(), n - 103.5, "{name} largest of negatives");
    }
}

#[inline(always)]
unsafe fn partial<V: Vector>(name: &str) {
    for n in 0..=V::LANES {
        let values: Vec<f32> = (0..n).map(|idx| idx as f32 + 1.0).collect();
        let mut out = vec![-1.0; V::LANES];
        // SAFETY: exactly `n` values are there to read, and `LANES` to write.
        unsafe {
            let v = V::load_first(values.as_ptr(), n);
            assert!(lanes(v)[n..].iter().all(|&x| x == 0.0), "{name} n {n}");
            v.store_first(out.as_mut_ptr(), n);
        }
        assert_eq!(&out[..n], &values[..], "{name} n {n}");
        assert!(out[n..].iter().all(|&x| x == -1.0), "{name} n {n}");
    }
}

/// The largest relative error of `approximate` against `exact` over `from..to`.
#[inline(always)]
unsafe fn largest_error<V: Vector>(
    approximate: impl Fn(V) -> V,
    exact: impl Fn(f64) -> f64,
    from: f32,
    to: f32,
) -> f64 {
    let n = 20_000;
    let mut worst = 0.0_f64;
    for start in (0..n).step_by(V::LANES) {
        let x = |lane: usize| from + (to - from) * (start + lane) as f32 / n as f32;
        // SAFETY: the caller has checked the instruction set.
        let got = unsafe { lanes(approximate(from_fn(x))) };
        for (lane, got) in got.into_iter().enumerate() {
            let expected = exact(f64::from(x(lane)));
            let error = (f64::from(got) - expected).abs() / expected.abs().max(1e-30);
            assert!(error.is_finite(), "{got} for {expected}");
            worst = worst.max(error);
        }
    }
    worst
}

#[inline(always)]
unsafe fn functions<V: Vector>(name: &str) {
    // SAFETY: the caller has checked the instruction set.
    unsafe {
        let check = |error: f64, bound: f64, what: &str| {
            assert!(error < bound, "{name} {what}: relative error {error:e}, bound {bound:e}");
        };
        let (exp, sigmoid, tanh) =
            (|x| math::exp::<V>(x), |x| math::sigmoid::<V>(x), |x| math::tanh::<V>(x));
        let logistic = |x: f64| 1.0 / (1.0 + (-x).exp());
        check(largest_error(exp, f64::exp, -87.0, 87.9), 3e-7, "exp");
        check(largest_error(exp, f64::exp, -1.0, 1.0), 3e-7, "exp near 0");
        check(largest_error(sigmoid, logistic, -80.0, 80.0), 4e-7, "sigmoid");
        check(largest_error(tanh, f64::tanh, -12.0, 12.0), 4e-7, "tanh");
        check(largest_error(tanh, f64::tanh, -0.01, 0.0101), 4e-7, "tanh near 0");
        let log_logistic = |x: f64| x.min(0.0) - (-x.abs()).exp().ln_1p();
        let log_sigmoid = |x| math::log_sigmoid::<V>(x);
        check(largest_error(log_sigmoid, log_logistic, -80.0, 80.0), 5e-7, "log σ");
        check(largest_error(log_sigmoid, log_logistic, -2.0, 2.0), 5e-7, "log σ near 0");
        for extreme in [f32::NEG_INFINITY, -1e30, 1e30, f32::INFINITY] {
            let x = V::splat(extreme);
            assert!(lanes(exp(x)).iter().all(|y| y.is_finite()), "{name} exp({extreme})");
            assert_eq!(lanes(tanh(x))[0], extreme.signum(), "{name} tanh({extreme})");
            let edge = if extreme > 0.0 { 1.0 } else { 0.0 };
            assert!((lanes(sigmoid(x))[0] - edge).abs() < 1e-37, "{name} sigmoid({extreme})");
        }
    }
}

#[test]
fn arithmetic_is_lane_by_lane() {
    on_every_isa!(arithmetic);
}

#[test]
fn partial_loads_and_stores_touch_only_their_lanes() {
    on_every_isa!(partial);
}

#[test]
fn functions_keep_their_stated_errors() {
    on_every_isa!(functions);
}

/// The largest difference of a quick function from `expected` over −40..40 and some far values.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn quick_distance(
    function: unsafe fn(Avx512) -> Avx512,
    expected: impl Fn(f64) -> f64,
) -> f64 {
    let near = (-400_000..400_000).map(|idx| idx as f32 * 1e-4);
    let far = [1e3, 1e9, f32::MAX, f32::INFINITY].into_iter().flat_map(|x| [x, -x]);
    let values: Vec<f32> = near.chain(far).chain([0.0; 8]).collect();
    let mut largest = 0.0_f64;
    for chunk in values.chunks_exact(Avx512::LANES) {
        let mut found = [0.0_f32; 16];
        // SAFETY: sixteen values each.
        unsafe { function(Avx512::load(chunk.as_ptr())).store(found.as_mut_ptr()) };
        for (&x, found) in chunk.iter().zip(found) {
            let off = (f64::from(found) - expected(f64::from(x))).abs();
            assert!(off.is_finite(), "at {x}: {found}");
            largest = largest.max(off);
        }
    }
    largest
}

#[cfg(target_arch = "x86_64")]
#[test]
fn quick_gates_are_right_to_six_decimal_places() {
    if !crate::Isa::Avx512.is_available() {
        println!("this machine has no AVX-512: quick gates are not tested");
        return;
    }
    use super::math::GateFunctions;
    // SAFETY: just checked.
    unsafe {
        let sigmoid = quick_distance(Quick::sigmoid, |x| 1.0 / (1.0 + (-x).exp()));
        let tanh = quick_distance(Quick::tanh, f64::tanh);
        assert!(sigmoid < 2e-6 && tanh < 2e-6, "{sigmoid:e} and {tanh:e}");
    }
}
