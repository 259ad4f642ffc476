//! Products with weights in `i8` as any machine can do them.

use super::layout::LANES;
use super::product::{Header, Product};

/// The product for weights in `i8`, one row and one line at a time.
///
/// # Safety
/// Everything that `product` names is there.
#[inline(always)]
pub(super) unsafe fn multiply(product: &Product<'_>) {
    let n_lines = product.packed.n_lines;
    let n_steps = product.depth().div_ceil(4);
    for row in 0..product.n_rows {
        for line in 0..n_lines {
            // SAFETY: by this function's contract.
            unsafe {
                let (header, weights) = product.operand();
                let mut sums = [0_i32; LANES];
                for step in 0..n_steps {
                    let x = product.row(row).add(4 * step).cast::<[u8; 4]>().read();
                    let weights = weights.add((step * n_lines + line) * 64);
                    let weights = weights.cast::<[[i8; 4]; LANES]>().read();
                    for (sum, w) in sums.iter_mut().zip(weights) {
                        for k in 0..4 {
                            *sum += i32::from(x[k]) * i32::from(w[k]);
                        }
                    }
                }
                finish(product, header, row, line, sums);
            }
        }
    }
}

/// y = (Σ − offset) · s_x · s_w + bias.
///
/// # Safety
/// As [`multiply`].
#[inline(always)]
pub(super) unsafe fn finish(
    product: &Product<'_>,
    header: Header,
    row: usize,
    line: usize,
    sums: [i32; LANES],
) {
    let n_lines = product.packed.n_lines;
    // SAFETY: by this function's contract.
    unsafe {
        let offsets = header.offsets(line, n_lines).cast::<[i32; LANES]>().read();
        let scales = header.scales(line, n_lines).cast::<[f32; LANES]>().read();
        let bias = header.bias(line).cast::<[f32; LANES]>().read();
        let scale = *product.rows.scales.add(row);
        let out = product.out(row, line);
        for lane in 0..LANES {
            let sum = (sums[lane] - offsets[lane]) as f32;
            out.add(lane).write(sum * (scale * scales[lane]) + bias[lane]);
        }
    }
}
