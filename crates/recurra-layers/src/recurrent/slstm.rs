//! sLSTM blocks.

use recurra_tensor::activation::Function;
use recurra_tensor::{
    Element, Input, ParameterId, Parameters, Random, Role, SlstmWeights, Tape, Var, Window,
};

use super::cell::{Cell, CellSize, CellState};
use super::xlstm::{
    Convolution, TAPS, draw, evenly, fill, heads_of, layer_norm, small, small_on_the_way_back,
};
use crate::{CellOptions, Dropout};

/// An sLSTM block (Beck et al. 2024, "xLSTM", figure 10), a residual layer around an sLSTM, and one around a gated
/// feed-forward part:
///
/// ```text
/// x̂ = norm(x)                               c = silu(conv(x̂))       each unit for itself over its last four steps
/// a_i, a_f = W_i·c, W_f·c                   a_z, a_o = W_z·x̂, W_o·x̂     heads apart
/// h = sLSTM(a_i, a_f, a_z, a_o)             see `recurra_kernels::slstm`
/// x ← x + norm_head(h)
/// y = x + W_down·(gelu(g) ⊙ u), where (g, u) = W_up·norm(x)
/// ```
///
/// It begins as the authors' program does with their plain settings: weights small, recurrent weights 0, forget gates with
/// biases from 3 to 6 so that the units of a head remember for different times. The feed-forward part has F = 4/3·H units,
/// rounded up to whole multiples of 64. Where E ≠ H, x is W_in·x.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slstm {
    inward: Option<ParameterId>, // (H, E)
    norm: ParameterId,           // (H)
    conv: Convolution,
    input_forget: ParameterId, // W_i, W_f (A, 2·D, D)
    cell_output: ParameterId,  // W_z, W_o (A, 2·D, D)
    weights: SlstmWeights,
    head_norm: ParameterId, // (H)
    ffn_norm: ParameterId,  // (H)
    ffn_up: ParameterId,    // (2·F, H)
    ffn_down: ParameterId,  // (H, F)
    hidden_size: usize,
    heads: usize,
    /// Of what the block adds.
    dropout: Dropout,
}

/// Values of c, n, m and h, and what the convolution remembers.
fn widths(hidden: usize) -> Vec<usize> {
    vec![hidden, hidden, hidden, hidden, (TAPS - 1) * hidden]
}

/// F.
fn feed_forward_size(hidden: usize, options: &CellOptions) -> usize {
    options.feed_forward.unwrap_or((4 * hidden).div_ceil(3).next_multiple_of(64))
}

impl Slstm {
    /// Declares layer number `layer`.
    ///
    /// # Panics
    /// When the heads asked for do not divide H.
    pub fn declare<E: Element>(
        parameters: &mut Parameters<E>,
        layer: usize,
        inputs: usize,
        hidden_size: usize,
        options: &CellOptions,
    ) -> Self {
        let name = |what: &str| format!("slstm.{what}_l{layer}");
        let mut declare = |what: &str, shape: &[usize]| parameters.declare(&name(what), shape);
        let heads = heads_of(hidden_size, options);
        assert!(hidden_size.is_multiple_of(heads), "{heads} heads for {hidden_size} units");
        let units = hidden_size / heads;
        let feed_forward = feed_forward_size(hidden_size, options);
        let block = Self {
            inward: (inputs != hidden_size).then(|| declare("in", &[hidden_size, inputs])),
            norm: declare("norm", &[hidden_size]),
            input_forget: declare("input_forget", &[heads, 2 * units, units]),
            cell_output: declare("cell_output", &[heads, 2 * units, units]),
            weights: SlstmWeights {
                recurrent: declare("recurrent", &[heads, 4 * units, units]),
                bias: declare("bias", &[heads, 4 * units]),
            },
            head_norm: declare("head_norm", &[hidden_size]),
            ffn_norm: declare("ffn_norm", &[hidden_size]),
            ffn_up: declare("ffn_up", &[2 * feed_forward, hidden_size]),
            ffn_down: declare("ffn_down", &[hidden_size, feed_forward]),
            conv: Convolution::declare(parameters, name, hidden_size),
            hidden_size,
            heads,
            dropout: Dropout::default(),
        };
        let SlstmWeights { recurrent, bias } = block.weights;
        for (weight, n_gates) in [(block.input_forget, 2), (block.cell_output, 2), (recurrent, 4)] {
            parameters.set_role(weight, Role::Matrix { parts: heads * n_gates });
        }
        parameters.set_role(bias, Role::Vector);
        parameters.set_role(block.ffn_up, Role::Matrix { parts: 2 });
        block
    }
}

impl Cell for Slstm {
    const PARTS: &'static [&'static str] = &["c", "n", "m", "h", "before"];
    const OPTIONS: &'static [&'static str] = &["feed_forward", "heads"];

    fn size(inputs: usize, hidden: usize, options: &CellOptions) -> CellSize {
        let units = hidden / heads_of(hidden, options);
        let inward = if inputs == hidden { 0 } else { inputs * hidden };
        let weights = inward
            + 8 * hidden * units
            + 3 * feed_forward_size(hidden, options) * hidden
            + TAPS * hidden;
        let vectors = 8 * hidden; // three norms, the biases of the convolution and of four gates
        CellSize { parameters: (weights + vectors) as u128, multiplications: weights as u64 }
    }

    fn hidden_size(&self) -> usize {
        self.hidden_size
    }

    fn state_widths(_: usize, hidden: usize, _: &CellOptions) -> Vec<usize> {
        widths(hidden)
    }

    fn part_widths(&self) -> Vec<usize> {
        widths(self.hidden_size)
    }

    fn with_branch_dropout(self, dropout: Dropout) -> (Self, bool) {
        (Self { dropout, ..self }, true)
    }

    fn initialize<E: Element>(&self, parameters: &mut Parameters<E>, random: &mut Random) {
        let hidden = self.hidden_size;
        if let Some(inward) = self.inward {
            let inputs = parameters.shape(inward)[1];
            draw(parameters, random, inward, small(inputs));
        }
        for id in [self.input_forget, self.cell_output, self.ffn_up] {
            draw(parameters, random, id, small(hidden));
        }
        draw(parameters, random, self.ffn_down, small_on_the_way_back(hidden));
        self.conv.initialize(parameters, random);
        for id in [self.norm, self.ffn_norm, self.head_norm] {
            fill(parameters, id, 1.0);
        }
        fill(parameters, self.weights.recurrent, 0.0);
        fill(parameters, self.weights.bias, 0.0);
        let units = hidden / self.heads;
        for head in parameters.value_mut(self.weights.bias).chunks_exact_mut(4 * units) {
            evenly(&mut head[units..2 * units], 3.0, 6.0);
        }
    }

    fn sequence<'x, E: Element>(
        &self,
        tape: &mut Tape<'_, E>,
        x: impl Into<Input<'x>>,
        window: Window,
        state: &mut CellState<E>,
    ) -> Var {
        let [c, n, m, h, before] = state.slices();
        let x = tape.read(x.into()); // (T·B, E)
        let x = self.inward.map_or(x, |inward| tape.linear(x, inward, None)); // (T·B, H)
        let normed = tape.norm(x, layer_norm(1), self.norm, None);
        let conv = self.conv.forward(tape, normed, window, before);
        let input_forget = tape.block_linear(conv, self.input_forget); // (T·B, A·2·D)
        let cell_output = tape.block_linear(normed, self.cell_output); // (T·B, A·2·D)
        let h = tape.slstm([input_forget, cell_output], self.weights, window, [h, c, n, m]);
        let h = tape.norm(h, layer_norm(self.heads), self.head_norm, None);
        let h = self.dropout.forward(tape, h, window);
        let x = tape.add(x, h);
        let normed = tape.norm(x, layer_norm(1), self.ffn_norm, None);
        let wide = tape.linear(normed, self.ffn_up, None); // (T·B, 2·F)
        let gated = tape.gated(wide, Function::Gelu); // (T·B, F)
        let y = tape.linear(gated, self.ffn_down, None); // (T·B, H)
        let y = self.dropout.forward(tape, y, window);
        tape.add(x, y)
    }
}
