//! The two loops of the product, once for every vector type: laying out a panel, and multiplying two panels.
//!
//! A panel holds a few rows of A (or columns of B) side by side for every k, so that the inner loop reads both straight on.

use crate::simd::Vector;

/// What the product needs of a vector type beyond arithmetic.
///
/// # Safety
/// As for [`Vector`].
#[allow(clippy::missing_safety_doc)] // said once, above
pub(super) trait Lanes: Vector {
    /// Writes `to[c · to_stride + r] = from[r · row_stride + c]` for c in 0..`cols` and r in 0..`width`, zero for r ≥ `rows`;
    /// `rows`, `cols` and `width` are at most `LANES`.
    #[inline(always)]
    unsafe fn transpose(
        from: Corner<*const f32>,
        rows: usize,
        cols: usize,
        to: Corner<*mut f32>,
        width: usize,
    ) {
        for c in 0..cols {
            for r in 0..width {
                // SAFETY: the caller vouches for `rows` × `cols` readable and `cols` × `width` writable values.
                unsafe {
                    let value =
                        if r < rows { from.first.add(r * from.stride + c).read() } else { 0.0 };
                    to.first.add(c * to.stride + r).write(value);
                }
            }
        }
    }
}

/// The first value of a block, and how far apart its rows are.
#[derive(Clone, Copy)]
pub(super) struct Corner<P> {
    pub first: P,
    pub stride: usize,
}

/// Rows of A or columns of B that become a panel.
#[derive(Clone, Copy)]
pub(crate) struct Strip {
    pub first: *const f32,
    /// From one row of A (column of B) to the next, and from one k to the next; one of the two is 1.
    pub across: usize,
    pub along: usize,
    /// Rows of A (columns of B) that exist; the last panel is zero beyond.
    pub n: usize,
    /// How many k.
    pub depth: usize,
    /// How many rows of A (columns of B) a panel holds.
    pub width: usize,
}

/// Lays `strip` out as one or several panels: `to[k · width + r] = strip[r, k]` in the first.
///
/// # Safety
/// The strip is readable, `to` has room for `depth · width` values a panel, and the contract of [`Vector`].
#[inline(always)]
pub(super) unsafe fn pack<V: Lanes>(strip: &Strip, to: *mut f32) {
    let &Strip { first, across, along, n, depth, width } = strip;
    let n_panels = n.div_ceil(width);
    // SAFETY: by this function's contract; nothing is read where `lanes` is 0.
    unsafe {
        if across == 1 {
            for k in 0..depth {
                let from = first.wrapping_add(k * along);
                for panel in 0..n_panels {
                    let to = to.add((panel * depth + k) * width);
                    for offset in (0..width).step_by(V::LANES) {
                        let room = (width - offset).min(V::LANES);
                        let place = panel * width + offset;
                        let (from, to) = (from.wrapping_add(place), to.add(offset));
                        V::prefetch(from.wrapping_add(ROWS_AHEAD * along));
                        if room == V::LANES && place + V::LANES <= n {
                            V::load(from).store(to);
                        } else {
                            V::load_first(from, n.saturating_sub(place).min(room))
                                .store_first(to, room);
                        }
                    }
                }
            }
        } else {
            debug_assert!(along == 1, "strides {across} and {along}");
            for panel in 0..n_panels {
                let to = to.add(panel * depth * width);
                for offset in (0..width).step_by(V::LANES) {
                    let room = (width - offset).min(V::LANES);
                    let place = panel * width + offset;
                    let lanes = n.saturating_sub(place).min(room);
                    let first = first.wrapping_add(place * across);
                    for k in (0..depth).step_by(V::LANES) {
                        // So many rows at once are more than the hardware follows.
                        for r in 0..lanes {
                            V::prefetch(first.wrapping_add(r * across + k + 3 * V::LANES));
                        }
                        V::transpose(
                            Corner { first: first.wrapping_add(k), stride: across },
                            lanes,
                            (depth - k).min(V::LANES),
                            Corner { first: to.add(k * width + offset), stride: width },
                            room,
                        );
                    }
                }
            }
        }
    }
}

/// What a tile of C starts from.
#[derive(Clone, Copy)]
pub(crate) enum TileStart {
    Zero,
    /// One value a column.
    Bias(*const f32),
    /// What C holds.
    Sum,
}

/// One tile of C: a panel of A times one or a few panels of B.
#[derive(Clone, Copy)]
pub(crate) struct Tile {
    /// Rows of C that exist.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    // loops over vectors know it by their name
    pub rows: usize,
    pub depth: usize,
    pub a: *const f32,
    /// From one k to the next in the panel of A.
    pub a_step: usize,
    pub b: *const f32,
    /// From one panel of B to the next.
    pub b_panel: usize,
    pub start: TileStart,
    pub c: *mut f32,
    pub c_stride: usize,
    /// Columns of C that exist.
    pub cols: usize,
    /// The panel of A and the tile of C that come next, which are asked for meanwhile: caches fetch ahead within a
    /// panel, but not from one to the next.
    pub next_a: *const f32,
    pub next_c: *const f32,
}

/// Rows that are asked for ahead where they lie in pages of their own.
const ROWS_AHEAD: usize = 8;
/// Values in a cache line.
const LINE: usize = 16;
/// Steps of k that B is asked for ahead: it comes from the second cache.
const B_AHEAD: usize = 16;

/// C ← start + A·B for `R` rows and up to `W` vectors of columns, `NV` a panel: one fused chain over k for each value.
///
/// # Safety
/// The panels are readable for `depth` steps, `R` × `cols` of C writable, and the contract of [`Vector`].
#[inline(always)]
pub(super) unsafe fn multiply<V: Lanes, const R: usize, const NV: usize, const W: usize>(
    tile: &Tile,
) {
    // SAFETY: by this function's contract; partial vectors touch only the columns that exist.
    unsafe {
        for r in 0..R {
            for v in 0..=NV {
                let col = (v * V::LANES).min(NV * V::LANES - 1);
                V::prefetch(tile.next_c.wrapping_add(r * tile.c_stride + col));
            }
        }
        let whole = tile.cols == W * V::LANES;
        let lanes = |v: usize| tile.cols.saturating_sub(v * V::LANES).min(V::LANES);
        let load = |from: *const f32, v: usize| {
            let from = from.wrapping_add(v * V::LANES);
            if whole { V::load(from) } else { V::load_first(from, lanes(v)) }
        };
        let mut sums = [[V::splat(0.0); W]; R];
        match tile.start {
            TileStart::Zero => {}
            TileStart::Bias(bias) => {
                for v in 0..W {
                    let bias = load(bias, v);
                    for row in &mut sums {
                        row[v] = bias;
                    }
                }
            }
            TileStart::Sum => {
                for (r, row) in sums.iter_mut().enumerate() {
                    for (v, sum) in row.iter_mut().enumerate() {
                        *sum = load(tile.c.add(r * tile.c_stride), v);
                    }
                }
            }
        }
        let (mut a, mut b, mut next_a) = (tile.a, tile.b, tile.next_a);
        for _ in 0..tile.depth {
            let mut columns = [V::splat(0.0); W];
            for (v, column) in columns.iter_mut().enumerate() {
                *column = V::load(b.add(v / NV * tile.b_panel + v % NV * V::LANES));
            }
            for (r, row) in sums.iter_mut().enumerate() {
                let x = V::splat(*a.add(r));
                for (sum, column) in row.iter_mut().zip(columns) {
                    *sum = x.mul_add(column, *sum);
                }
            }
            V::prefetch(next_a);
            for line in (0..NV * V::LANES).step_by(LINE) {
                V::prefetch(b.wrapping_add(B_AHEAD * NV * V::LANES + line));
            }
            next_a = next_a.wrapping_add(tile.a_step);
            a = a.wrapping_add(tile.a_step);
            b = b.wrapping_add(NV * V::LANES);
        }
        for (r, row) in sums.iter().enumerate() {
            for (v, sum) in row.iter().enumerate() {
                let to = tile.c.wrapping_add(r * tile.c_stride + v * V::LANES);
                if whole { sum.store(to) } else { sum.store_first(to, lanes(v)) }
            }
        }
    }
}
