//! The loops with AVX-512; whole numbers with VNNI where it is, else as with AVX2.

use super::avx2;
use super::cell::{self, Finish, ReadSums, Sums};
use super::kernels::loops;
use super::layout::{LANES, Line, MOST_LINES};
use super::likeliest::Search;
use super::planes::{self, BLOCK, LOW_STEPS, Planes};
use super::product::{Header, Product};
use super::screen::{self, Largest, Sketch};
use crate::simd::{Avx512, Quick};
use std::arch::x86_64::*;

loops!(
    Avx512,
    1,
    if is_x86_feature_detected!("avx512vnni") { multiply_int8 } else { avx2::multiply_int8 },
    Quick,
    [target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
);

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
unsafe fn multiply_int8(product: &Product<'_>) {
    // SAFETY: the caller's contract is the same.
    unsafe {
        match product.packed.n_lines {
            1 => rows::<1>(product),
            2 => rows::<2>(product),
            3 => rows::<3>(product),
            _ => rows::<4>(product),
        }
    }
}

/// All rows, four at a time, then one at a time.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
unsafe fn rows<const P: usize>(product: &Product<'_>) {
    let mut row = 0;
    while row < product.n_rows {
        // SAFETY: the caller's contract is the same.
        unsafe {
            if row + 4 <= product.n_rows {
                tile::<P, 4>(product, row);
                row += 4;
            } else {
                one_row::<P>(product, row);
                row += 1;
            }
        }
    }
}

/// One row by P lines: 2·P chains, because a sum waits five cycles for the one before it.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
#[allow(clippy::needless_range_loop)] // lines and their places, counted alike
unsafe fn one_row<const P: usize>(product: &Product<'_>, row: usize) {
    // SAFETY: the machine has what this function enables; everything that `product` names is there.
    unsafe {
        let (header, mut line) = product.operand();
        let n_steps = product.depth().div_ceil(4);
        let x = product.row(row).cast::<i32>();
        let mut even = [_mm512_setzero_si512(); P];
        let mut odd = [_mm512_setzero_si512(); P];
        for step in 0..n_steps / 2 {
            let x_even = _mm512_set1_epi32(x.add(2 * step).read_unaligned());
            let x_odd = _mm512_set1_epi32(x.add(2 * step + 1).read_unaligned());
            for p in 0..P {
                even[p] = _mm512_dpbusd_epi32(even[p], x_even, load(line.add(p * 64)));
            }
            for p in 0..P {
                odd[p] = _mm512_dpbusd_epi32(odd[p], x_odd, load(line.add((P + p) * 64)));
            }
            line = line.add(2 * P * 64);
        }
        if n_steps % 2 == 1 {
            let x_last = _mm512_set1_epi32(x.add(n_steps - 1).read_unaligned());
            for p in 0..P {
                even[p] = _mm512_dpbusd_epi32(even[p], x_last, load(line.add(p * 64)));
            }
        }
        for p in 0..P {
            finish_line(product, header, row, p, _mm512_add_epi32(even[p], odd[p]));
        }
    }
}

/// R rows by P lines.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
unsafe fn tile<const P: usize, const R: usize>(product: &Product<'_>, first: usize) {
    // SAFETY: the machine has what this function enables; everything that `product` names is there.
    unsafe {
        let (header, mut line) = product.operand();
        let mut sums = [[_mm512_setzero_si512(); P]; R];
        for step in 0..product.depth().div_ceil(4) {
            let mut weights = [_mm512_setzero_si512(); P];
            for (p, weights) in weights.iter_mut().enumerate() {
                *weights = load(line.add(p * 64));
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let x = product.row(first + r).cast::<i32>().add(step).read_unaligned();
                for (sum, weights) in sums.iter_mut().zip(weights) {
                    *sum = _mm512_dpbusd_epi32(*sum, _mm512_set1_epi32(x), weights);
                }
            }
            line = line.add(P * 64);
        }
        for (r, sums) in sums.into_iter().enumerate() {
            for (p, sum) in sums.into_iter().enumerate() {
                finish_line(product, header, first + r, p, sum);
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn load(from: *const u8) -> __m512i {
    // SAFETY: lines are aligned, and this one is there.
    unsafe { _mm512_load_si512(from.cast()) }
}

/// y = (Σ − offset) · s_x · s_w + bias, rounded once less than in [`bytes`](super::bytes).
///
/// # Safety
/// The machine has AVX-512; everything that `product` names is there.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
pub(super) unsafe fn finish_line(
    product: &Product<'_>,
    header: Header,
    row: usize,
    line: usize,
    sums: __m512i,
) {
    // SAFETY: by this function's contract.
    unsafe {
        let y = header_of(product, header, line).values(*product.rows.scales.add(row), sums);
        _mm512_storeu_ps(product.out(row, line), y);
    }
}

/// What makes values of a line of sums.
#[derive(Clone, Copy)]
struct LineHeader {
    offsets: __m512i,
    scales: __m512,
    bias: __m512,
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn header_of(product: &Product<'_>, header: Header, line: usize) -> LineHeader {
    let n_lines = product.packed.n_lines;
    // SAFETY: everything that `product` names is there.
    unsafe {
        LineHeader {
            offsets: _mm512_load_si512(header.offsets(line, n_lines).cast()),
            scales: _mm512_load_ps(header.scales(line, n_lines)),
            bias: _mm512_load_ps(header.bias(line)),
        }
    }
}

impl LineHeader {
    /// (Σ − offset) · s_x · s_w + bias.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    fn values(self, scale: f32, sums: __m512i) -> __m512 {
        let sums = _mm512_cvtepi32_ps(_mm512_sub_epi32(sums, self.offsets));
        _mm512_fmadd_ps(sums, _mm512_mul_ps(_mm512_set1_ps(scale), self.scales), self.bias)
    }
}

/// Cells from sums that tiles left: whole numbers become gates in registers.
///
/// # Safety
/// The machine has AVX-512; everything that `finish` names is there, and its units are the caller's alone.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
pub(super) unsafe fn finish_sums(finish: &Finish<'_>) {
    // SAFETY: the caller's contract is the same.
    unsafe {
        match (&finish.x, &finish.h) {
            (Sums::Whole(x), Sums::Whole(h)) => {
                cell::of_sums::<Avx512, Quick>(finish, &Whole::of(x), &Whole::of(h));
            }
            (Sums::Values(x), Sums::Whole(h)) => {
                cell::of_sums::<Avx512, Quick>(finish, x, &Whole::of(h));
            }
            _ => cell::finish::<Avx512, Quick>(finish),
        }
    }
}

/// Sums of a product as tiles left them.
struct Whole<'a> {
    product: &'a Product<'a>,
    header: Header,
}

impl<'a> Whole<'a> {
    fn of(product: &'a Product<'a>) -> Self {
        let (header, _) = product.operand();
        Self { product, header }
    }
}

impl ReadSums<Avx512> for Whole<'_> {
    #[inline(always)]
    unsafe fn load(&self, row: usize, place: usize) -> Avx512 {
        let line = place / LANES;
        // SAFETY: by this function's contract; everything that the product names is there.
        unsafe {
            let sums = _mm512_loadu_si512(self.product.out(row, line).cast());
            let scale = *self.product.rows.scales.add(row);
            header_of(self.product, self.header, line).values(scale, sums).into()
        }
    }
}

/// Looks at a block of the output layer whose sums are there, as [`Lanes::look`] does at its logits.
///
/// # Safety
/// The machine has AVX-512; everything that `search` names is there.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
pub(super) unsafe fn look_at_sums(search: &mut Search<'_>) {
    let Search { ref product, ref mut likeliest, first, n, is_backward } = *search;
    // SAFETY: by this function's contract; what is looked at lies in `Lanes`, as wide as a register.
    unsafe {
        let (header, _) = product.operand();
        let mut headers = [header_of(product, header, 0); MOST_LINES];
        for (line, of_line) in headers.iter_mut().enumerate() {
            *of_line = header_of(product, header, line);
        }
        let among_lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
        let infinity = _mm512_set1_ps(f32::INFINITY);
        let is_there = |line: usize| u16::MAX.checked_shr(16 - lanes_of(n, line)).unwrap_or(0);
        let is_there: [_; MOST_LINES] = std::array::from_fn(is_there);
        for (row, lanes) in likeliest.iter_mut().enumerate() {
            let scale = *product.rows.scales.add(row);
            let mut best = _mm512_loadu_ps(lanes.logits.as_ptr());
            let mut ids = _mm512_loadu_si512(lanes.ids.as_ptr().cast());
            let mut unsound = 0;
            for idx in 0..MOST_LINES {
                let line = if is_backward { MOST_LINES - 1 - idx } else { idx };
                let sums = _mm512_loadu_si512(product.out(row, line).cast());
                let y = headers[line].values(scale, sums);
                let is_better = match is_backward {
                    true => _mm512_mask_cmp_ps_mask::<_CMP_GE_OQ>(is_there[line], y, best),
                    false => _mm512_mask_cmp_ps_mask::<_CMP_GT_OQ>(is_there[line], y, best),
                };
                let id = _mm512_set1_epi32((first + line * LANES) as i32);
                best = _mm512_mask_mov_ps(best, is_better, y);
                ids = _mm512_mask_add_epi32(ids, is_better, among_lanes, id);
                unsound |= _mm512_mask_cmp_ps_mask::<_CMP_NLT_UQ>(is_there[line], y, infinity);
            }
            _mm512_storeu_ps(lanes.logits.as_mut_ptr(), best);
            _mm512_storeu_si512(lanes.ids.as_mut_ptr().cast(), ids);
            if unsound != 0 {
                let to = lanes.unsound.as_mut_ptr().cast();
                _mm512_mask_storeu_epi32(to, unsound, _mm512_set1_epi32(1));
            }
        }
    }
}

/// How many of `n` outputs are in this line of their block.
fn lanes_of(n: usize, line: usize) -> u32 {
    n.saturating_sub(line * LANES).min(LANES) as u32
}

/// The loops over planes, where there is VNNI.
pub(super) fn screening() -> Option<screen::Loops> {
    is_x86_feature_detected!("avx512vnni").then_some(screen::Loops {
        lay_out,
        sketch,
        note,
        all_below,
        bound,
        whole,
    })
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn lay_out(from: &planes::Whole<'_>, high: &mut [Line], low: &mut [Line]) {
    planes::lay_out(from, high, low);
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
unsafe fn sketch(sketch: &mut Sketch<'_>) {
    // SAFETY: the caller's contract is the same.
    unsafe {
        match sketch.inputs.len() {
            1 => sketch_of::<1>(sketch),
            2 => sketch_of::<2>(sketch),
            _ => sketch_of::<{ screen::MOST_ROWS }>(sketch),
        }
    }
}

/// R inputs: 2·4·R chains of sums.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
#[allow(clippy::needless_range_loop)] // lines, inputs and their places, counted alike
unsafe fn sketch_of<const R: usize>(sketch: &mut Sketch<'_>) {
    // SAFETY: the machine has what this function enables; everything that `sketch` names is there.
    unsafe {
        let Sketch { planes, block, inputs, partial, stride, ref mut bounds } = *sketch;
        let block = planes.block(block);
        let [low, high] = [0x0f, 0xf0_u8].map(|half| _mm512_set1_epi8(half as i8));
        // 16·u·x is the sum of sixteen times the first and the second, whose u are in the upper half of a byte.
        let mut sums = [[[_mm512_setzero_si512(); 2]; MOST_LINES]; R];
        let mut line = block.lines;
        for step in 0..planes.n_steps() {
            let mut x = [[_mm512_setzero_si512(); 2]; R];
            for r in 0..R {
                let values = inputs[r].values.cast::<i32>().add(2 * step);
                x[r] = [_mm512_set1_epi32(*values), _mm512_set1_epi32(*values.add(1))];
            }
            for p in 0..MOST_LINES {
                let both = load(line.add(p * 64));
                let halves = [_mm512_and_si512(both, low), _mm512_and_si512(both, high)];
                for r in 0..R {
                    let [even, odd] = &mut sums[r][p];
                    *even = _mm512_dpbusd_epi32(*even, halves[0], x[r][0]);
                    *odd = _mm512_dpbusd_epi32(*odd, halves[1], x[r][1]);
                }
            }
            line = line.add(MOST_LINES * 64);
        }
        for r in 0..R {
            let input = &inputs[r];
            let upper_rest = _mm512_set1_epi32(input.upper_rest());
            let scale = _mm512_set1_ps(input.scale);
            for p in 0..MOST_LINES {
                let [even, odd] = sums[r][p];
                let upper = _mm512_add_epi32(_mm512_slli_epi32(even, 4), odd);
                let upper = _mm512_add_epi32(upper, upper_rest);
                _mm512_storeu_si512(partial.add(r * stride + p * LANES).cast(), upper);
                let most = _mm512_set1_epi32(input.rest(block.spreads[p]));
                let most = _mm512_cvtepi32_ps(_mm512_add_epi32(upper, most));
                let scale = _mm512_mul_ps(scale, _mm512_load_ps(block.scales.add(p * LANES)));
                let bias = _mm512_load_ps(block.biases.add(p * LANES));
                let bounds = bounds[r][p * LANES..].as_mut_ptr();
                _mm512_storeu_ps(bounds, _mm512_fmadd_ps(most, scale, bias));
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn bound(planes: &Planes, output: usize, input: &screen::Input, partial: i32) -> f32 {
    let spread = planes.block(output / BLOCK).spreads[output % BLOCK / LANES];
    let (bias, scale, _) = planes.row(output);
    let most = partial.wrapping_add(input.rest(spread));
    (most as f32).mul_add(input.scale * scale, bias)
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
unsafe fn whole(planes: &Planes, output: usize, input: &screen::Input, partial: i32) -> f32 {
    // SAFETY: the machine has what this function enables; the output and as many values are there.
    unsafe {
        let (bias, scale, low) = planes.row(output);
        let half = _mm512_set1_epi8(15);
        let mut sums = [_mm512_setzero_si512(); 2];
        for line in 0..planes.row_len() {
            let both = load(low.add(line * 64));
            let x = input.values.add(line * LOW_STEPS);
            let first = _mm512_and_si512(both, half);
            let second = _mm512_and_si512(_mm512_srli_epi16(both, 4), half);
            sums[0] = _mm512_dpbusd_epi32(sums[0], first, load(x.cast()));
            sums[1] = _mm512_dpbusd_epi32(sums[1], second, load(x.add(LOW_STEPS / 2).cast()));
        }
        let sum = partial.wrapping_add(_mm512_reduce_add_epi32(_mm512_add_epi32(sums[0], sums[1])));
        (sum as f32).mul_add(input.scale * scale, bias)
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn note(
    largest: &mut Largest,
    block: usize,
    bounds: &[f32; BLOCK],
    most: &mut [f32; LANES],
) {
    largest.note(block, bounds, most);
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn all_below(most: &[f32; LANES], least: f32) -> bool {
    screen::all_below(most, least)
}
