//! Against the plain loops and against a scatter written out in `f64`, on every instruction set and with 1, 2 and 3 threads.

use super::*;

/// Values without a pattern that a wrong row or column could hide in.
fn values(n: usize, salt: u32) -> Vec<f32> {
    (0..n as u32)
        .map(|i| ((i ^ salt).wrapping_mul(2_654_435_761) >> 8) as f32 / 8e6 - 1.0)
        .collect()
}

fn ids(n: usize, rows: u32) -> Vec<u32> {
    (0..n as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 7) % rows).collect()
}

#[track_caller]
fn check(n: usize, rows: usize, width: usize) {
    let (table, ids) = (values(rows * width, 1), ids(n, rows as u32));
    let (d_out, before) = (values(n * width, 2), values(rows * width, 3));
    let mut exact: Vec<f64> = before.iter().map(|&x| f64::from(x)).collect();
    for (i, &d) in d_out.iter().enumerate() {
        exact[ids[i / width] as usize * width + i % width] += f64::from(d);
    }
    let mut first: Option<Vec<f32>> = None;
    for isa in Isa::available() {
        for threads in 1..=3 {
            let cpu = Cpu::with_isa(isa, threads);
            let what = format!("{isa}, {threads} threads, n {n}, rows {rows}, width {width}");
            let mut out = vec![f32::NAN; n * width];
            forward(&cpu, &table, &ids, &mut out);
            for (i, &value) in out.iter().enumerate() {
                assert_eq!(value, table[ids[i / width] as usize * width + i % width], "{what}");
            }
            let mut d_table = before.clone();
            backward(&cpu, &ids, &d_out, &mut d_table);
            for (at, (&got, &exact)) in d_table.iter().zip(&exact).enumerate() {
                assert!((f64::from(got) - exact).abs() < 1e-4, "{what}: {got} for {exact} at {at}");
            }
            assert_eq!(&d_table, first.get_or_insert(d_table.clone()), "same bits: {what}");
        }
    }
}

#[test]
fn rows_come_out_and_their_gradients_add_up_at_odd_sizes() {
    for width in [1, 3, 8, 15, 16, 17, 33, 64, 65] {
        check(1, 1, width);
        check(7, 3, width);
        check(40, 50, width);
    }
}

#[test]
fn large_sizes_are_shared_among_threads_without_changing_a_bit() {
    check(700, 30, 100);
    check(1100, 2000, 17);
}

#[test]
fn f64_takes_the_reference() {
    let cpu = Cpu::with_isa(Isa::Plain, 2);
    let mut out = [0.0_f64; 4];
    forward(&cpu, &[1.0, 2.0, 3.0, 4.0], &[1, 0], &mut out);
    assert_eq!(out, [3.0, 4.0, 1.0, 2.0]);
    let mut d_table = [0.5_f64; 4];
    backward(&cpu, &[1, 1], &[1.0, 2.0, 10.0, 20.0], &mut d_table);
    assert_eq!(d_table, [0.5, 0.5, 11.5, 22.5]);
}

#[test]
fn no_ids_do_nothing() {
    let cpu = Cpu::with_isa(Isa::Plain, 1);
    forward::<f32>(&cpu, &[1.0, 2.0], &[], &mut []);
    backward::<f32>(&cpu, &[], &[], &mut [1.0, 2.0]);
}

#[test]
#[should_panic(expected = "id 3 outside of `table` with 3 rows")]
fn an_id_past_the_table_panics_with_both() {
    forward(&Cpu::with_isa(Isa::Plain, 1), &[0.0_f32; 6], &[0, 3], &mut [0.0; 4]);
}

#[test]
#[should_panic(expected = "`d_out` of 5 values does not hold one row for each of 2 ids")]
fn rows_that_do_not_fit_the_ids_panic_with_both() {
    backward(&Cpu::with_isa(Isa::Plain, 1), &[0, 1], &[0.0_f32; 5], &mut [0.0; 6]);
}
