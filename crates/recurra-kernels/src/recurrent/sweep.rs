//! The sweep over the time steps of a sequence: who does what, and when the members of the team meet.

use super::panels::{MOST_VECTORS, Panels};
use super::product::{Left, Tiles, product};
use crate::isa::by_isa;
use crate::simd::{self, Vector};
use crate::{Cpu, Isa, Worker};
use std::ops::Range;

/// A kernel that at each step multiplies rows of one matrix with panels and does something with each sum.
///
/// Step by step: sums = left(step) · panels, for all rows and units, then `finish`. What `finish` of a step writes at any
/// unit may be read through `left` from the next step on; `finish` itself may read what it wrote at the same row and unit.
pub(crate) trait Sweep: Sync {
    /// Its steps, and the sizes of their products.
    fn extent(&self) -> Extent<'_>;
    /// What is multiplied at `step`; the depths add up to that of the panels, or are zero.
    fn left(&self, step: usize) -> [Left; 2];
    /// Takes the sums at `place`: one vector a gate, one after the other.
    ///
    /// # Safety
    /// As for [`Vector`]; row and units lie inside, no other thread touches them during this step, and `sums` holds a
    /// vector for each gate.
    unsafe fn finish<V: Vector>(&self, place: Place, sums: *const f32);
}

/// How far a sweep goes.
pub(crate) struct Extent<'a> {
    /// How many steps.
    pub steps: usize,
    /// Rows of each product: B.
    pub rows: usize,
    /// What is multiplied with.
    pub panels: &'a Panels,
}

/// Where sums belong: `n` units from `unit` on in `row`.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub step: usize,
    pub row: usize,
    pub unit: usize,
    pub n: usize,
}

/// Multiply-adds a step below which one thread is as fast as a team: about three microseconds.
const TINY: usize = 65_536;

/// Runs the whole sweep on the team (or on the calling thread alone, where the step is tiny).
pub(crate) fn run(cpu: &Cpu, sweep: &impl Sweep) {
    let Extent { rows, panels, .. } = sweep.extent();
    let isa = cpu.isa();
    assert!(panels.lanes() == lanes(isa), "panels packed for another instruction set");
    let work = rows * panels.depth() * panels.gates() * panels.units();
    if cpu.threads() == 1 || work < TINY {
        // SAFETY: a `Cpu` exists only with an instruction set that the machine has.
        unsafe { on_isa(isa, None, sweep) }
    } else {
        // SAFETY: as above.
        cpu.pool().run(|worker| unsafe { on_isa(isa, Some(worker), sweep) });
    }
}

/// Runs the whole sweep on the calling thread: for one task of several that exchange nothing.
pub(crate) fn run_alone(isa: Isa, sweep: &impl Sweep) {
    assert!(
        sweep.extent().panels.lanes() == lanes(isa),
        "panels packed for another instruction set"
    );
    // SAFETY: panels are packed for an instruction set only on a `Cpu` that has it.
    unsafe { on_isa(isa, None, sweep) }
}

/// Lanes of the vectors of `isa`.
pub(crate) fn lanes(isa: Isa) -> usize {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => simd::Avx512::LANES,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => simd::Avx2::LANES,
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => simd::Neon::LANES,
        _ => simd::Plain::LANES,
    }
}

unsafe fn on_isa(isa: Isa, worker: Option<&Worker<'_>>, kernel: &impl Sweep) {
    // SAFETY: the caller vouches for the instruction set.
    unsafe { by_isa!(isa, super::file => file::sweep(worker, kernel)) }
}

/// Most rows whose sums are held at once: 24 KiB, half of the first cache.
const ROWS: usize = 96;

/// The sums of some rows with one group of panels.
#[repr(align(64))]
struct Sums([f32; ROWS * MOST_VECTORS * 16]);

/// One member's part of the sweep.
///
/// # Safety
/// As for [`Vector`]; every member of the team calls it with the same kernel.
#[inline(always)]
pub(super) unsafe fn sweep<V: Vector, S: Sweep>(
    tiles: &Tiles,
    worker: Option<&Worker<'_>>,
    kernel: &S,
) {
    let Extent { steps, rows: batch, panels } = kernel.extent();
    let (n_groups, gates) = (panels.n_groups(), panels.gates());
    let (member, members) = worker.map_or((0, 1), |worker| (worker.index, worker.count()));
    let grid = Grid::new(members, batch, n_groups, panels.bytes());
    let (rows, groups) = grid.part(member, batch, n_groups);
    let mut sums = Sums([0.0; _]);
    let sums = sums.0.as_mut_ptr();
    for step in 0..steps {
        let left = kernel.left(step);
        debug_assert!([0, panels.depth()].contains(&(left[0].depth + left[1].depth)));
        for group in groups.clone() {
            let next = if group + 1 < groups.end { group + 1 } else { groups.start };
            let (group, next) = (panels.group(group), panels.group(next));
            let n_vectors = group.n_blocks * gates;
            let width = n_vectors * V::LANES;
            for start in rows.clone().step_by(ROWS) {
                let rows = start..rows.end.min(start + ROWS);
                // SAFETY: the instruction set by this function's contract; `left` and panels fit each other by that of
                // `Sweep`; there is room for `ROWS` rows of the widest group. Only this member has these rows and units,
                // and others read what `finish` writes after the barrier only.
                unsafe {
                    let tiles = tiles.0[n_vectors - 1];
                    product(tiles, left, rows.clone(), group.values, next.values, width, sums);
                    for block in 0..group.n_blocks {
                        let unit = (group.first_block + block) * V::LANES;
                        let n = V::LANES.min(panels.units() - unit);
                        let mut sums = sums.cast_const().add(block * gates * V::LANES);
                        for row in rows.clone() {
                            kernel.finish::<V>(Place { step, row, unit, n }, sums);
                            sums = sums.add(width);
                        }
                    }
                }
            }
        }
        if let Some(worker) = worker
            && grid.panel_parts > 1
            && step + 1 < steps
        {
            worker.barrier();
        }
    }
}

/// How the team shares a step: by rows of the batch, by groups of panels, or both. Members past `row_parts · panel_parts`
/// have nothing to do. With one panel part nobody needs what another computed, and there is no barrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Grid {
    row_parts: usize,
    panel_parts: usize,
}

impl Grid {
    /// The division whose largest part costs least. It changes no sum, so it may depend on the number of members.
    fn new(members: usize, rows: usize, n_groups: usize, panel_bytes: usize) -> Self {
        /// What fits into a member's own cache beside everything else.
        const CACHE: usize = 3 << 19;
        let cost = |row_parts: usize| {
            let panel_parts = (members / row_parts).min(n_groups);
            let part_rows = rows.div_ceil(row_parts);
            // In units of one row times one group. Each tile reads its panels from the second cache, which costs
            // about two; coming from further away they cost about sixteen a step.
            let far = if panel_bytes / panel_parts > CACHE { 16 } else { 0 };
            n_groups.div_ceil(panel_parts) * (part_rows + 2 * part_rows.div_ceil(6) + far)
        };
        let best = (1..=members.min(rows.max(1))).min_by_key(|&row_parts| cost(row_parts));
        let row_parts = best.unwrap_or(1);
        Self { row_parts, panel_parts: (members / row_parts).min(n_groups.max(1)) }
    }

    /// The rows and groups of `member`.
    fn part(self, member: usize, rows: usize, n_groups: usize) -> (Range<usize>, Range<usize>) {
        let (row, panel) = (member / self.panel_parts, member % self.panel_parts);
        if row >= self.row_parts {
            return (0..0, 0..0);
        }
        let part = |n: usize, idx, parts| n * idx / parts..n * (idx + 1) / parts;
        (part(rows, row, self.row_parts), part(n_groups, panel, self.panel_parts))
    }
}

/// Rows of a sequence that are asked for before they are needed: a step goes down the rows of one block of units, whose
/// values lie too far apart for the hardware to see them coming.
const ROWS_AHEAD: usize = 6;

/// Asks for the values that `from` has so many rows of `row_len` further on.
///
/// # Safety
/// As for [`Vector`].
#[inline(always)]
pub(crate) unsafe fn fetch_ahead<V: Vector>(from: *const f32, row_len: usize) {
    // SAFETY: a hint; the address need not exist.
    unsafe { V::prefetch(from.wrapping_add(ROWS_AHEAD * row_len)) }
}

/// The first `n` values from `from`.
///
/// # Safety
/// As for [`Vector`]; `n` values are there, and `n ≤ LANES`.
#[inline(always)]
pub(crate) unsafe fn load<V: Vector>(from: *const f32, n: usize) -> V {
    // SAFETY: by this function's contract.
    unsafe { if n == V::LANES { V::load(from) } else { V::load_first(from, n) } }
}

/// The first `n` lanes to `to`.
///
/// # Safety
/// As for [`Vector`]; there is room for `n` values, and `n ≤ LANES`.
#[inline(always)]
pub(crate) unsafe fn store<V: Vector>(value: V, to: *mut f32, n: usize) {
    // SAFETY: by this function's contract.
    unsafe { if n == V::LANES { value.store(to) } else { value.store_first(to, n) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_grid_cover_every_row_and_group_once() {
        for members in 1..20 {
            for (rows, n_groups, bytes) in
                [(1, 1, 1), (1, 13, 1 << 19), (20, 41, 7 << 20), (64, 8, 1 << 22), (3, 2, 99)]
            {
                let grid = Grid::new(members, rows, n_groups, bytes);
                let mut covered = vec![0; rows * n_groups];
                for member in 0..members {
                    let (rows, groups) = grid.part(member, rows, n_groups);
                    for row in rows {
                        groups.clone().for_each(|group| covered[row * n_groups + group] += 1);
                    }
                }
                assert!(covered.iter().all(|&count| count == 1), "{grid:?} for {members}");
            }
        }
    }

    #[test]
    fn small_weights_are_shared_by_rows_and_large_ones_by_units() {
        assert_eq!(Grid::new(2, 20, 13, 640_000), Grid { row_parts: 2, panel_parts: 1 });
        assert_eq!(Grid::new(2, 20, 41, 6_800_000), Grid { row_parts: 1, panel_parts: 2 });
        assert_eq!(Grid::new(2, 1, 13, 640_000), Grid { row_parts: 1, panel_parts: 2 });
    }
}
