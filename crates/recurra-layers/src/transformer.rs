//! A block of a Transformer decoder.

use recurra_tensor::attention;
use recurra_tensor::{Element, Input, Parameters, Random, Tape, Var, Window};

use crate::linear::Linear;
use crate::{
    ActivationKind, Attention, Cell, CellOptions, CellSize, CellState, Dropout, FeedForward, Norm,
    NormKind, PositionKind,
};

/// How many positions are seen where nothing else is asked for.
const CONTEXT: usize = 256;
/// Values of a head where nothing else is asked for.
const HEAD_SIZE: usize = 64;

/// A Transformer block (Vaswani et al. 2017) with its norms before what they feed (Radford et al. 2019):
///
/// ```text
/// x ← x + Attention(Norm(x))
/// x ← x + FeedForward(Norm(x))
/// ```
///
/// By default in the manner of LLaMA (Touvron et al. 2023): RMS norm, rotary positions, SwiGLU, no biases. With
/// layer norm in the manner of GPT-2 (Radford et al. 2019): learned positions, GELU, biases. What comes in is mapped to the
/// block's width first where it has another.
///
/// Its state is a memory of keys and values, a ring of `context` positions; the norm after the last block and
/// learned positions belong to the stack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transformer {
    entrance: Option<Linear>,
    attention_norm: Norm,
    attention: Attention,
    feed_forward_norm: Norm,
    feed_forward: FeedForward,
    layer: usize,
    width: usize,
    /// Of what is added to the residual link.
    dropout: Dropout,
}

/// What the options come to for a block of some width.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sizes {
    pub attention: attention::Attention,
    pub positions: PositionKind,
    pub norm: NormKind,
    activation: ActivationKind,
    inner: usize,
}

/// Values of the keys and values of all positions, and how many there were.
fn widths(width: usize, context: usize) -> Vec<usize> {
    vec![context * width, context * width, 1]
}

impl Sizes {
    pub fn of(width: usize, options: &CellOptions) -> Self {
        let norm = options.norm.unwrap_or(NormKind::Rms);
        let positions = positions(options);
        let activation = options.activation.unwrap_or(match norm {
            NormKind::Rms => ActivationKind::Swiglu,
            NormKind::Layer => ActivationKind::Gelu,
        });
        let inner = match activation {
            // As many numbers as two maps of 4·C.
            ActivationKind::Swiglu => (8 * width).div_ceil(3).next_multiple_of(32),
            ActivationKind::Gelu => 4 * width,
        };
        let attention = attention::Attention {
            heads: options.heads.unwrap_or_else(|| default_heads(width)),
            context: options.context.unwrap_or(CONTEXT),
            positions: positions.into(),
        };
        let inner = options.feed_forward.unwrap_or(inner);
        Self { attention, positions, norm, activation, inner }
    }

    /// GPT-2 has biases everywhere, LLaMA nowhere.
    fn has_bias(&self) -> bool {
        self.norm == NormKind::Layer
    }
}

/// How positions are told: as LLaMA does, and with its norm as GPT-2.
fn positions(options: &CellOptions) -> PositionKind {
    options.positions.unwrap_or(match options.norm.unwrap_or(NormKind::Rms) {
        NormKind::Rms => PositionKind::Rotary,
        NormKind::Layer => PositionKind::Learned,
    })
}

impl CellOptions {
    /// Whether a Transformer of these options tells positions by rotation.
    pub fn is_rotary(&self) -> bool {
        positions(self) == PositionKind::Rotary
    }
}

/// The largest number of heads of at least [`HEAD_SIZE`] values that divides a width.
fn default_heads(width: usize) -> usize {
    (1..=(width / HEAD_SIZE).max(1)).rev().find(|heads| width.is_multiple_of(*heads)).unwrap_or(1)
}

impl Transformer {
    /// Declares block number `layer`.
    pub fn declare<E: Element>(
        parameters: &mut Parameters<E>,
        layer: usize,
        inputs: usize,
        width: usize,
        options: &CellOptions,
    ) -> Self {
        let sizes = Sizes::of(width, options);
        let name = |part: &str| format!("transformer.{layer}.{part}");
        let bias = sizes.has_bias();
        let entrance = (inputs != width)
            .then(|| Linear::declare(parameters, &name("entrance"), inputs, width, bias));
        let attention_norm = Norm::declare(parameters, &name("attention_norm"), sizes.norm, width);
        let attention =
            Attention::declare(parameters, &name("attention"), width, sizes.attention, bias);
        let norm = name("feed_forward_norm");
        let feed_forward_norm = Norm::declare(parameters, &norm, sizes.norm, width);
        let feed_forward = FeedForward::declare(
            parameters,
            &name("feed_forward"),
            width,
            sizes.inner,
            sizes.activation,
            bias,
        );
        Self {
            entrance,
            attention_norm,
            attention,
            feed_forward_norm,
            feed_forward,
            layer,
            width,
            dropout: Dropout::default(),
        }
    }

    /// x + dropout(branch)
    fn joined<E: Element>(
        &self,
        tape: &mut Tape<'_, E>,
        x: Var,
        branch: Var,
        window: Window,
    ) -> Var {
        let branch = self.dropout.forward(tape, branch, window);
        tape.add(x, branch)
    }
}

impl Cell for Transformer {
    const PARTS: &'static [&'static str] = &["keys", "values", "length"];
    const OPTIONS: &'static [&'static str] =
        &["heads", "context", "feed_forward", "norm", "positions", "activation"];

    fn size(inputs: usize, width: usize, options: &CellOptions) -> CellSize {
        let sizes = Sizes::of(width, options);
        let bias = sizes.has_bias();
        let entrance = if inputs == width { 0 } else { Linear::n_parameters(inputs, width, bias) };
        let parts = |bias| {
            Attention::n_parameters(width, bias)
                + FeedForward::n_parameters(width, sizes.inner, sizes.activation, bias)
        };
        let seen = 2 * sizes.attention.context as u128 * width as u128;
        let entrance_weights =
            if inputs == width { 0 } else { Linear::n_parameters(inputs, width, false) };
        CellSize {
            parameters: entrance + parts(bias) + 2 * Norm::n_parameters(sizes.norm, width),
            multiplications: (entrance_weights + parts(false) + seen) as u64,
        }
    }

    fn hidden_size(&self) -> usize {
        self.width
    }

    fn state_widths(_: usize, width: usize, options: &CellOptions) -> Vec<usize> {
        widths(width, Sizes::of(width, options).attention.context)
    }

    fn part_widths(&self) -> Vec<usize> {
        widths(self.width, self.attention.sizes().context)
    }

    /// Dropout on what attention and feed-forward part add, as GPT-2 has it.
    fn with_branch_dropout(self, dropout: Dropout) -> (Self, bool) {
        (Self { dropout, ..self }, true)
    }

    /// Draws the weights from U(−1/√I, 1/√I); what adds to the residual link is smaller by √(2·l) in block l = 1, 2, …, so
    /// that its variance grows slowly (Zhang, Titov and Sennrich 2019).
    fn initialize<E: Element>(&self, parameters: &mut Parameters<E>, random: &mut Random) {
        let factor = 1.0 / (2.0 * (self.layer + 1) as f64).sqrt();
        if let Some(entrance) = &self.entrance {
            entrance.draw_weight(parameters, random, 1.0);
        }
        self.attention_norm.initialize(parameters, 1.0);
        self.attention.initialize(parameters, random, factor);
        self.feed_forward_norm.initialize(parameters, 1.0);
        self.feed_forward.initialize(parameters, random, factor);
    }

    fn sequence<'x, E: Element>(
        &self,
        tape: &mut Tape<'_, E>,
        x: impl Into<Input<'x>>,
        window: Window,
        state: &mut CellState<E>,
    ) -> Var {
        let mut x = tape.read(x.into());
        if let Some(entrance) = &self.entrance {
            x = entrance.forward(tape, x); // (T·B, C)
        }
        let normal = self.attention_norm.forward(tape, x);
        let seen = self.attention.forward(tape, normal, window, state.slices());
        let x = self.joined(tape, x, seen, window);
        let normal = self.feed_forward_norm.forward(tape, x);
        let inner = self.feed_forward.forward(tape, normal);
        self.joined(tape, x, inner, window)
    }
}
