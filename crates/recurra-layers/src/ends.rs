//! What blocks with residual links have before the first of them and after the last.

use recurra_tensor::attention::Attention;
use recurra_tensor::{Element, Input, ParameterId, Parameters, Random, Role, Tape, Var, Window};

use crate::transformer::Sizes;
use crate::{CellKind, CellOptions, CellState, Norm, NormKind, PositionKind};

/// The gain with which the last norm begins.
///
/// With 1, rows of H numbers near ±1 go to an output layer of weights in ±0.1: what it says of tokens differs by 0.06·√H, and where it
/// is tied to the embedding, of the token just read, whose vector the residual links hand up, it says up to 0.06·H.
const LAST_GAIN: f64 = 0.25;

/// The last norm, and before a Transformer's first block learned positions, where it has them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ends {
    positions: Option<Positions>,
    norm: Norm,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Positions {
    /// (context, E)
    table: ParameterId,
    attention: Attention,
}

/// How the blocks' stream is normalised at its end, and under which name; `None` for layers without residual links.
fn last_norm(
    kind: CellKind,
    width: usize,
    options: &CellOptions,
) -> Option<(&'static str, NormKind)> {
    match kind {
        CellKind::Transformer => Some(("transformer.norm", Sizes::of(width, options).norm)),
        CellKind::Slstm | CellKind::Mlstm => Some(("post_blocks_norm", NormKind::Layer)),
        _ => None,
    }
}

/// Attention with learned positions.
fn with_learned_positions(
    kind: CellKind,
    width: usize,
    options: &CellOptions,
) -> Option<Attention> {
    let sizes = (kind == CellKind::Transformer).then(|| Sizes::of(width, options))?;
    (sizes.positions == PositionKind::Learned).then_some(sizes.attention)
}

impl Ends {
    /// Declares `transformer.positions.weight` (context, E), where positions are learned, and `transformer.norm`, or the
    /// `post_blocks_norm` of an xLSTM.
    pub(crate) fn declare<E: Element>(
        parameters: &mut Parameters<E>,
        kind: CellKind,
        embed_size: usize,
        width: usize,
        options: &CellOptions,
    ) -> Option<Self> {
        let (name, norm) = last_norm(kind, width, options)?;
        let positions = with_learned_positions(kind, width, options).map(|attention| {
            let shape = [attention.context, embed_size];
            let table = parameters.declare("transformer.positions.weight", &shape);
            parameters.set_role(table, Role::Table);
            Positions { table, attention }
        });
        Some(Self { positions, norm: Norm::declare(parameters, name, norm, width) })
    }

    /// How many numbers they learn.
    pub(crate) fn n_parameters(
        kind: CellKind,
        embed_size: usize,
        width: usize,
        options: &CellOptions,
    ) -> u128 {
        let positions = with_learned_positions(kind, width, options)
            .map_or(0, |attention| attention.context as u128 * embed_size as u128);
        let norm =
            last_norm(kind, width, options).map_or(0, |(_, norm)| Norm::n_parameters(norm, width));
        positions + norm
    }

    /// Draws the positions from U(−0.1, 0.1), as the embedding, and sets the last norm's gain to [`LAST_GAIN`].
    pub(crate) fn initialize<E: Element>(
        &self,
        parameters: &mut Parameters<E>,
        random: &mut Random,
    ) {
        if let Some(Positions { table, .. }) = self.positions {
            random.fill_uniform(parameters.value_mut(table), 0.1);
        }
        self.norm.initialize(parameters, LAST_GAIN);
    }

    /// The input plus the vector of each position, which the first block's memory knows.
    ///
    /// # Shapes
    /// `x` (T·B, E) → (T·B, E).
    pub(crate) fn with_positions<'x, E: Element>(
        &self,
        tape: &mut Tape<'_, E>,
        x: Input<'x>,
        window: Window,
        first: &CellState<E>,
    ) -> Input<'x> {
        let Some(Positions { table, attention }) = self.positions else { return x };
        let lengths = first.parts.last().expect("keys, values and length");
        let starts: Vec<usize> = lengths.iter().map(|&length| attention.place(length)).collect();
        let ids: Vec<u32> = (0..window.time)
            .flat_map(|t| starts.iter().map(move |start| ((start + t) % attention.context) as u32))
            .collect(); // (T·B)
        let x = tape.read(x);
        let positions = tape.embedding(table, &ids);
        tape.add(x, positions).into()
    }

    /// What the last block hands up, normalised.
    pub(crate) fn normalised<E: Element>(&self, tape: &mut Tape<'_, E>, x: Var) -> Var {
        self.norm.forward(tape, x)
    }
}
