//! What is timed computes what it should.

use super::*;
use crate::Precision;

#[test]
fn every_loop_that_is_timed_computes_what_the_reference_does() {
    for isa in Isa::available() {
        let kernel = kernel(isa);
        let (mut a, mut b) = operands(kernel);
        if isa.precision() == Precision::Bf16 {
            // Its operands have 8 bits of mantissa.
            for x in a.iter_mut().chain(&mut b) {
                *x = f32::from_bits(x.to_bits() & 0xffff_0000);
            }
        }
        for times in [0, 1, 3] {
            let (mut a_panel, mut b_panel) = (vec![f32::NAN; a.len()], vec![f32::NAN; b.len()]);
            let mut c = vec![f32::NAN; kernel.rows * kernel.cols];
            // SAFETY: the machine has `isa`; lengths are those of the kernel.
            unsafe {
                (kernel.lay_out)(&a, &b, &mut a_panel, &mut b_panel);
                (kernel.multiply)(&a_panel, &b_panel, times, &mut c);
            }
            let sizes = (kernel.rows, kernel.cols, kernel.depth);
            let expected = reference::multiply(sizes, (&a, &b), times);
            for (idx, (&found, expected)) in c.iter().zip(expected).enumerate() {
                assert!(
                    (f64::from(found) - expected).abs() < 1e-3 * (1.0 + expected.abs()),
                    "{isa}, {times} times, value {idx}: {found} for {expected}"
                );
            }
        }
    }
}

#[test]
fn every_value_is_read_each_time() {
    for isa in Isa::available() {
        for n in [0, 1, 7, 64, 127, 128, 129, 1000] {
            let values: Vec<f32> = (0..n).map(|idx| (idx % 11) as f32 - 4.0).collect();
            for times in [0, 1, 3] {
                // SAFETY: the machine has `isa`.
                let found = unsafe { (kernel(isa).read)(&values, times) };
                assert_eq!(
                    f64::from(found),
                    reference::read(&values, times),
                    "{isa} {n} × {times}"
                );
            }
        }
    }
}

#[test]
fn operands_are_random_and_of_both_signs() {
    let (a, _) = operands(kernel(Isa::Plain));
    assert!(a.iter().all(|x| (1.0 / 128.0..2.0).contains(&x.abs())));
    let negative = a.iter().filter(|x| x.is_sign_negative()).count();
    assert!((a.len() / 4..a.len() * 3 / 4).contains(&negative), "{negative} of {}", a.len());
}
