//! Sums of the columns of a matrix: the gradient of a bias.

mod reference;
mod vector;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod plain;

use crate::isa::by_isa;
use crate::matmul::Matrix;
use crate::{Cpu, Element, Isa, SharedSlice};

/// Below this many values other threads would still be waking up when the work is done.
const ALONE: usize = 1 << 15;

/// What one instruction set has.
struct Kernel {
    /// Columns of a strip.
    cols: usize,
    /// Adds the columns of a strip to their sums.
    add: unsafe fn(&vector::Strip),
}

/// sums_j ← sums_j + Σ_i a_ij, from the first row to the last in one chain.
///
/// (Where `a` is a transposed view, its columns lie in one piece and are summed in a few interleaved chains.)
///
/// # Shapes
/// `a` (M, N), `sums` (N).
///
/// # Panics
/// When `sums` does not hold one value a column.
#[track_caller]
pub fn column_sums<E: Element>(cpu: &Cpu, a: Matrix<E>, sums: &mut [E]) {
    assert!(
        a.cols() == sums.len(),
        "column sums of ({}, {}) into {} values",
        a.rows(),
        a.cols(),
        sums.len()
    );
    if a.rows() == 0 || a.cols() == 0 {
        return;
    }
    let (Some(values), Some(shared)) =
        (E::as_f32(a.values()), E::as_f32_mut(sums).map(SharedSlice::new))
    else {
        return reference::column_sums(a, sums);
    };
    let a = a.with_values(values);
    let kernel = kernel(cpu.isa());
    let strip = |idx: usize| {
        let first = idx * kernel.cols;
        let cols = first..a.cols().min(first + kernel.cols);
        let block = a.block(0..a.rows(), cols.clone());
        let strip = vector::Strip {
            from: block.values().as_ptr(),
            row_stride: a.row_stride(),
            col_stride: a.col_stride(),
            rows: a.rows(),
            cols: cols.len(),
            sums: shared.ptr(first),
        };
        // SAFETY: the block and the sums of its columns exist, each strip has its own; `Cpu` has found the instruction set.
        unsafe { (kernel.add)(&strip) };
    };
    let n_strips = a.cols().div_ceil(kernel.cols);
    cpu.pool().for_each_or_alone(a.rows() * a.cols() <= ALONE, n_strips, strip);
}

fn kernel(isa: Isa) -> &'static Kernel {
    by_isa!(isa, self::file => &file::KERNEL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(cpu: &Cpu, rows: usize, cols: usize, transposed: bool) -> Vec<u32> {
        let values: Vec<f32> =
            (0..rows * cols).map(|idx| (idx * 7 % 23) as f32 * 0.37 - 4.0).collect();
        let exact: Vec<f64> = values.iter().map(|&x| x.into()).collect();
        let a = if transposed {
            Matrix::new(&values, cols, rows).transposed()
        } else {
            Matrix::new(&values, rows, cols)
        };
        let mut sums: Vec<f32> = (0..cols).map(|col| col as f32 * 0.5).collect();
        let mut expected: Vec<f64> = sums.iter().map(|&x| x.into()).collect();
        column_sums(cpu, a, &mut sums);
        reference::column_sums(a.with_values(&exact), &mut expected);
        for (col, (&got, expected)) in sums.iter().zip(&expected).enumerate() {
            assert!(
                (f64::from(got) - expected).abs() < 1e-6 * (1.0 + rows as f64 + expected.abs()),
                "{} {rows}×{cols} column {col}: {got} for {expected}",
                cpu.isa()
            );
        }
        sums.iter().map(|x| x.to_bits()).collect()
    }

    #[test]
    fn every_shape_agrees_with_the_reference_and_with_any_number_of_threads() {
        for isa in Isa::available() {
            let cpus = [1, 2, 3].map(|threads| Cpu::with_isa(isa, threads));
            for (rows, cols) in [
                (0, 3),
                (3, 0),
                (1, 1),
                (1, 130),
                (3, 7),
                (5, 63),
                (17, 129),
                (70, 2600),
                (900, 64),
            ] {
                for transposed in [false, true] {
                    let [first, others @ ..] =
                        cpus.each_ref().map(|cpu| check(cpu, rows, cols, transposed));
                    assert!(others.iter().all(|bits| *bits == first), "{isa} {rows}×{cols}");
                }
            }
        }
    }

    #[test]
    fn a_strided_view_is_summed_where_it_lies() {
        let values: Vec<f32> = (0..40).map(|idx| idx as f32).collect();
        let mut sums = vec![0.0; 3];
        let cpu = Cpu::with_isa(Isa::best(None).unwrap(), 1);
        column_sums(&cpu, Matrix::with_strides(&values[5..], 4, 3, 10), &mut sums);
        assert_eq!(sums, [80.0, 84.0, 88.0]);
    }

    #[test]
    #[should_panic(expected = "column sums of (2, 3) into 2 values")]
    fn sizes_that_do_not_fit_are_said() {
        let cpu = Cpu::with_isa(Isa::Plain, 1);
        column_sums(&cpu, Matrix::new(&[0.0; 6], 2, 3), &mut [0.0; 2]);
    }
}
