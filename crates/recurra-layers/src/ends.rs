//! What a Transformer has before its first block and after its last.

use recurra_tensor::{Element, Input, ParameterId, Parameters, Random, Role, Tape, Var, Window};

use crate::transformer::Sizes;
use crate::{CellOptions, CellState, Norm, PositionKind};

/// Learned positions, where the family has them, and the last norm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ends {
    /// (context, E)
    positions: Option<ParameterId>,
    norm: Norm,
    sizes: Sizes,
}

impl Ends {
    /// Declares `transformer.positions.weight` (context, E), where positions are learned, and `transformer.norm`.
    pub(crate) fn declare<E: Element>(
        parameters: &mut Parameters<E>,
        embed_size: usize,
        width: usize,
        options: &CellOptions,
    ) -> Self {
        let sizes = Sizes::of(width, options);
        let positions = (sizes.positions == PositionKind::Learned).then(|| {
            let shape = [sizes.attention.context, embed_size];
            let positions = parameters.declare("transformer.positions.weight", &shape);
            parameters.set_role(positions, Role::Table);
            positions
        });
        let norm = Norm::declare(parameters, "transformer.norm", sizes.norm, width);
        Self { positions, norm, sizes }
    }

    /// How many numbers they learn.
    pub(crate) fn n_parameters(embed_size: usize, width: usize, options: &CellOptions) -> u128 {
        let sizes = Sizes::of(width, options);
        let positions = match sizes.positions {
            PositionKind::Learned => sizes.attention.context as u128 * embed_size as u128,
            PositionKind::Rotary => 0,
        };
        positions + Norm::n_parameters(sizes.norm, width)
    }

    /// Draws the positions from U(−0.1, 0.1), as the embedding.
    pub(crate) fn initialize<E: Element>(
        &self,
        parameters: &mut Parameters<E>,
        random: &mut Random,
    ) {
        if let Some(positions) = self.positions {
            random.fill_uniform(parameters.value_mut(positions), 0.1);
        }
        self.norm.initialize(parameters);
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
        let Some(positions) = self.positions else { return x };
        let attention = self.sizes.attention;
        let lengths = first.parts.last().expect("keys, values and length");
        let starts: Vec<usize> = lengths.iter().map(|&length| attention.place(length)).collect();
        let ids: Vec<u32> = (0..window.time)
            .flat_map(|t| starts.iter().map(move |start| ((start + t) % attention.context) as u32))
            .collect(); // (T·B)
        let x = tape.read(x);
        let positions = tape.embedding(positions, &ids);
        tape.add(x, positions).into()
    }

    /// What the last block hands up, normalised.
    pub(crate) fn normalised<E: Element>(&self, tape: &mut Tape<'_, E>, x: Var) -> Var {
        self.norm.forward(tape, x)
    }
}
