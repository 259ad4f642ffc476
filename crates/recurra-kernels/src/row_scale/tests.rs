//! By hand, at sizes around a block, on any number of threads.

use super::*;
use crate::Isa;

#[test]
fn rows_are_multiplied_by_their_own_number() {
    for threads in 1..=3 {
        let cpu = Cpu::with_isa(Isa::Plain, threads);
        for (n_rows, width) in [(0, 3), (1, 1), (3, 5), (7, BLOCK / 2 - 1), (BLOCK + 1, 3)] {
            let scales: Vec<f32> = (0..n_rows).map(|row| (row % 3) as f32 * 0.5).collect();
            let x = |idx: usize| (idx % 11) as f32 - 5.0;
            let mut values: Vec<f32> = (0..n_rows * width).map(x).collect();
            apply(&cpu, &scales, &mut values);
            for (idx, &value) in values.iter().enumerate() {
                assert_eq!(value, x(idx) * scales[idx / width], "{n_rows} × {width} at {idx}");
            }
        }
    }
}

#[test]
fn nothing_is_left_of_a_dropped_row() {
    let mut values = [f64::NAN, f64::INFINITY, 2.0, 3.0];
    apply(&Cpu::with_isa(Isa::Plain, 1), &[0.0, 2.0], &mut values);
    assert_eq!(values, [0.0, 0.0, 4.0, 6.0]);
}

#[test]
#[should_panic(expected = "5 values are no rows for 2 scales")]
fn sizes_must_agree() {
    apply(&Cpu::with_isa(Isa::Plain, 1), &[1.0, 2.0], &mut [0.0_f32; 5]);
}
