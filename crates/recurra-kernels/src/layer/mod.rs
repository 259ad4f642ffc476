//! A recurrent layer over a whole sequence in the matrix unit: products with the input and all gradients included.
//!
//! The same equations as [`lstm`](crate::lstm), [`gru`](crate::gru) and [`rnn`](crate::rnn) have, with operands of products
//! rounded to `bf16` and sums in `f32`. Products of `bf16` are so fast that a step waits for memory, so everything lies the
//! way it is walked through:
//!
//! - Every member of the team owns some blocks of sixteen units, with all their gates, for all steps. Its part of W_hh stays in
//!   its second cache; members exchange h (on the way back the gradients of the gates) and meet at a barrier after each step.
//! - The products with the input are made for some steps ahead, by the member that will use them, into the place where the
//!   step then leaves its gates: (T, blocks, B, gates, 16), one stream. Gates are kept as `f16`: 11 bits of values below 1; so
//!   are the memories that the way back wants, while the one in use is `f32`.
//! - What follows a product goes on beside the next one, a row after each step of k: the matrix unit has no part in it.
//! - What a step multiplies with is left by the step before as rows of `bf16`, which are tiles as they lie.
//! - On the way back a step leaves the gradients of its gates twice: as rows, for the products with W_hh and W_ih, and as pairs
//!   of rows, for the products with x and h₋. Those are made for thousands of rows at a time.
//!
//! States, memories, biases, gradients and all sums are `f32`. Each sum is made by one member in one order, so no bit depends
//! on the number of threads, and the states of a sequence neither on those beside it nor on where it is cut into windows.

mod backward;
mod beside;
mod forward;
mod gradient;
mod input;
mod kept;
mod kinds;
mod product;
#[cfg(test)]
mod reference;
mod room;
mod sizes;
mod square;
#[cfg(test)]
mod tests;
mod weights;

pub use kept::kept_len;
pub use kinds::{CellKind, Direction, Input, InputGradient, LayerGradients, LayerShape};
pub use weights::PackedLayer;

use crate::dropout::{self, Mask};
use crate::gru::cell::Gru;
use crate::lstm::cell::Lstm;
use crate::matmul::buffer::Buffer;
use crate::recurrent::Cell;
use crate::tiles::{ROWS, Unit};
use crate::{Cpu, SharedSlice};
use backward::Backward;
use forward::Forward;
use gradient::Gradients;
use input::Reader;
use kept::Kept;
use product::Rows;
use room::{Room, parts};
use sizes::longest_piece;
use std::cell::RefCell;

/// Calls a function that is generic over the cell.
macro_rules! with_cell {
    ($kind:expr, $cell:ident => $body:expr) => {
        match $kind {
            CellKind::Lstm => {
                let $cell = Lstm::<false>;
                $body
            }
            CellKind::CoupledLstm => {
                let $cell = Lstm::<true>;
                $body
            }
            CellKind::Gru => {
                let $cell = Gru;
                $body
            }
            CellKind::Rnn($cell) => $body,
        }
    };
}

/// The constants of a cell.
struct CellSizes {
    /// [`Cell::GATES`]
    gates: usize,
    /// [`Cell::KEPT`]
    kept: usize,
    /// [`Cell::GRADIENTS`]
    gradients: usize,
    /// [`Cell::OF_INPUT`]
    of_input: &'static [usize],
    /// [`Cell::OF_RECURRENT`]
    of_recurrent: &'static [usize],
    /// [`Cell::BIASED`]
    biased: Option<usize>,
}

impl CellKind {
    fn sizes(self) -> CellSizes {
        fn of<C: Cell>(_: C) -> CellSizes {
            CellSizes {
                gates: C::GATES,
                kept: C::KEPT,
                gradients: C::GRADIENTS,
                of_input: C::OF_INPUT,
                of_recurrent: C::OF_RECURRENT,
                biased: C::BIASED,
            }
        }
        with_cell!(self, cell => of(cell))
    }
}

thread_local! {
    static SCRATCH: RefCell<Buffer<f32>> = const { RefCell::new(Buffer::new()) };
}

/// Multiply-adds of a step below which one thread is as fast as a team.
const TINY: usize = 1 << 18;

/// Whether layers run in tiles.
pub fn is_available(cpu: &Cpu) -> bool {
    Unit::of(cpu.isa()).is_some()
}

/// What multiplies the tiles of layers.
#[track_caller]
fn unit(cpu: &Cpu) -> Unit {
    Unit::of(cpu.isa()).expect("an instruction set with weights in tiles")
}

/// Runs a member's part on the team, or on the calling thread where the work is tiny.
fn run(cpu: &Cpu, cell: CellKind, shape: LayerShape, member: impl Fn(&crate::Worker<'_>) + Sync) {
    let step = shape.batch * cell.sizes().gates * shape.hidden * (shape.hidden + shape.inputs);
    if step < TINY { cpu.pool().alone(member) } else { cpu.pool().run(member) }
}

/// The states of all steps.
///
/// # Shapes
/// - `biases` b_ih and b_hh (G·H) each, `x` (T·B, E), as they lie or as an [`Input`] says.
/// - `h` (T + 1, B, H): the first is given, the others are written.
/// - `memory` (B, H): c before the sequence, and then after it; only the LSTM has it.
/// - `state_mask`: which values of (B, H) the products with h keep, the same ones at each step.
/// - `kept`: what [`backward`] wants, of [`kept_len`].
///
/// # Panics
/// When a size disagrees or is zero, or the weights are laid out for something else.
#[track_caller]
#[allow(clippy::too_many_arguments)] // a layer has that many
pub fn forward(
    cpu: &Cpu,
    cell: CellKind,
    shape: LayerShape,
    weights: &PackedLayer,
    biases: [&[f32]; 2],
    x: Input<'_>,
    h: &mut [f32],
    memory: Option<&mut [f32]>,
    state_mask: Option<Mask>,
    kept: &mut [f32],
) {
    let LayerShape { time, batch, inputs, hidden } = shape;
    weights.check(cell, shape, Direction::Forward);
    check(cell, shape, biases.map(<[f32]>::len), h.len());
    let x = Reader::new(x, shape);
    let state_mask = prepared(state_mask, shape);
    assert!(
        memory.as_ref().map(|memory| memory.len()) == cell.has_memory().then_some(batch * hidden),
        "the memory of {cell:?} {shape:?}"
    );
    // Both biases go with the input, but where the cell has its own place for one.
    let mut bias = biases[0].to_vec();
    let biased = cell.sizes().biased.map_or(usize::MAX, |gate| gate * hidden);
    for (idx, (sum, &part)) in bias.iter_mut().zip(biases[1]).enumerate() {
        if idx < biased {
            *sum += part;
        }
    }
    let bias_recurrent = biases[1].get(biased..).unwrap_or_default();
    let kept = SharedSlice::new(kept);
    let kept = Kept::new(&kept, cell, shape);
    let unit = unit(cpu);
    let (h, memory) = (SharedSlice::new(h), memory.map(SharedSlice::new));
    SCRATCH.with_borrow_mut(|buffer| {
        let row = Rows::stride(hidden) / 2;
        let lens = [
            longest_piece(time, batch, forward::PIECE) * batch * Rows::stride(inputs) / 2,
            batch * row,
            batch * row,
            shape.blocks() * batch * ROWS,
        ];
        let [x_rows, before, after, memory_now] = parts(buffer, lens);
        before.fill(0.0);
        after.fill(0.0);
        let memory_now = SharedSlice::new(memory_now);
        let x_rows = Rows::new(x_rows.as_mut_ptr(), inputs);
        let h_rows = [before, after].map(|rows| Rows::new(rows.as_mut_ptr(), hidden));
        with_cell!(cell, kind => {
            let forward = Forward {
                cell: kind, unit, shape, weights, bias: &bias, bias_recurrent, x, h, state_mask, memory, memory_now, kept, x_rows,
                h_rows,
            };
            // SAFETY: the weights exist only where `Cpu` has found this unit; all sizes are checked above.
            run(cpu, cell, shape, |worker| unsafe { forward.member(worker) });
        });
    });
}

/// The gradients of weights, biases and x. The state before the sequence is a constant, and nothing but `d_h` arrives at the
/// states.
///
/// # Shapes
/// - `kept`, `x` and `h` as [`forward`] left them, `state_mask` as it had it, `d_h` (T·B, H) the gradient of every output.
/// - `d_x` (T·B, E): the gradient of each row before its mask.
///
/// # Panics
/// As [`forward`].
#[track_caller]
#[allow(clippy::too_many_arguments)] // a layer has that many
pub fn backward(
    cpu: &Cpu,
    cell: CellKind,
    shape: LayerShape,
    weights: &PackedLayer,
    kept: &mut [f32],
    x: Input<'_>,
    h: &[f32],
    state_mask: Option<Mask>,
    d_h: &mut [f32],
    d_x: InputGradient<'_>,
    gradients: LayerGradients<'_>,
) {
    let LayerShape { batch, inputs, hidden, .. } = shape;
    weights.check(cell, shape, Direction::Backward);
    let LayerGradients { weight_ih, weight_hh, bias_ih, bias_hh, adds, squares } = gradients;
    check(cell, shape, [bias_ih.len(), bias_hh.len()], h.len());
    let x = Reader::new(x, shape);
    let h = Reader::of_states(h, batch, hidden, prepared(state_mask, shape));
    assert_eq!(d_h.len(), shape.rows() * hidden, "d_h of {shape:?}");
    let n_inputs = shape.rows() * inputs;
    match &d_x {
        InputGradient::Nowhere => {}
        InputGradient::To(d_x) | InputGradient::AddedTo(d_x) => {
            assert_eq!(d_x.len(), n_inputs, "d_x of {shape:?}");
        }
        InputGradient::InPlace => assert_eq!(d_h.len(), n_inputs, "d_x over d_h of {shape:?}"),
    }
    let gate_rows = cell.sizes().gates * hidden;
    assert_eq!(weight_ih.len(), gate_rows * inputs, "the gradient of W_ih of {shape:?}");
    assert_eq!(weight_hh.len(), gate_rows * hidden, "the gradient of W_hh of {shape:?}");
    assert_eq!(squares.each_ref().map(|of| of.len()), [gate_rows; 2], "squares of {shape:?}");
    let kept = SharedSlice::new(kept);
    let kept = Kept::new(&kept, cell, shape);
    let unit = unit(cpu);
    SCRATCH.with_borrow_mut(|buffer| {
        let (room, sums) = Room::new(buffer, &cell.sizes(), shape, cpu.threads());
        let gradients = Gradients {
            shape,
            weights: [weight_ih, weight_hh].map(SharedSlice::new),
            adds,
            squares: squares.map(SharedSlice::new),
            biases: [bias_ih, bias_hh].map(SharedSlice::new),
            sums,
        };
        let d_h = SharedSlice::new(d_h);
        let d_x = d_x.into();
        with_cell!(cell, kind => {
            let backward = Backward {
                cell: kind, unit, shape, weights, x, h, d_h, kept, d_x, room, gradients,
            };
            // SAFETY: the weights exist only where `Cpu` has found this unit; all sizes are checked above.
            run(cpu, cell, shape, |worker| unsafe { backward.member(worker) });
        });
    });
}

/// The mask of a state, ready for the loops.
fn prepared(mask: Option<Mask>, shape: LayerShape) -> Option<dropout::Prepared> {
    mask.map(|mask| mask.checked(shape.batch * shape.hidden))
}

#[track_caller]
fn check(cell: CellKind, shape: LayerShape, biases: [usize; 2], h: usize) {
    let LayerShape { time, batch, inputs, hidden } = shape;
    assert!(time * batch * inputs * hidden > 0, "a layer of {shape:?}");
    assert_eq!(biases, [cell.sizes().gates * hidden; 2], "biases of {cell:?} {shape:?}");
    assert_eq!(h, (shape.rows() + batch) * hidden, "h of {shape:?}");
}
