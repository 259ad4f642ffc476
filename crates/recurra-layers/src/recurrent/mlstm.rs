//! mLSTM blocks.

use recurra_tensor::activation::Function;
use recurra_tensor::{Element, Input, ParameterId, Parameters, Random, Role, Tape, Var, Window};

use super::cell::{Cell, CellSize, CellState};
use super::xlstm::{
    Convolution, TAPS, draw, evenly, fill, heads_of, layer_norm, small, small_on_the_way_back,
};
use crate::{CellOptions, Dropout};

/// An mLSTM block (Beck et al. 2024, "xLSTM", figure 11), a residual layer around an mLSTM of I = 2·H units:
///
/// ```text
/// x̂ = norm(x)       u = W_up·x̂       z = W_gate·x̂
/// c = silu(conv(u))                         each unit for itself over its last four steps
/// q = W_q·c         k = W_k·c        v = W_v·u           blocks of 4 × 4
/// ĩ, f̃ = W_i·(q, k, v) + b_i, W_f·(q, k, v) + b_f        one of each a head
/// h = mLSTM(q, k, v, ĩ, f̃)                  see `recurra_kernels::mlstm`
/// y = x + W_down·((norm_head(h) + skip ⊙ c) ⊙ silu(z))
/// ```
///
/// It begins as the authors' program has it: weights small, forget gates with biases from 3 to 6 so that the heads remember for
/// different times. Where E ≠ H, x is W_in·x.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mlstm {
    inward: Option<ParameterId>, // (H, E)
    norm: ParameterId,           // (H)
    up: ParameterId,             // (I, H)
    gate: ParameterId,           // (I, H)
    conv: Convolution,
    query: ParameterId,      // (I/4, 4, 4)
    key: ParameterId,        // (I/4, 4, 4)
    value: ParameterId,      // (I/4, 4, 4)
    gates: [ParameterId; 3], // (2·A, I) for q, k and v
    gates_bias: ParameterId, // (2·A)
    head_norm: ParameterId,  // (I)
    skip: ParameterId,       // (I, 1, 1)
    down: ParameterId,       // (H, I)
    hidden_size: usize,
    heads: usize,
    /// Of what the block adds.
    dropout: Dropout,
}

/// I: units of the mLSTM.
fn inner_size(hidden: usize) -> usize {
    2 * hidden
}

/// Values of c, n and m, and what the convolution remembers.
fn widths(hidden: usize, heads: usize) -> Vec<usize> {
    let inner = inner_size(hidden);
    vec![inner * inner / heads, inner, heads, (TAPS - 1) * inner]
}

/// Rows of a block of W_q, W_k and W_v: 4, or 2 where I is no multiple of that.
fn block_size(hidden: usize) -> usize {
    if inner_size(hidden).is_multiple_of(4) { 4 } else { 2 }
}

impl Mlstm {
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
        let name = |what: &str| format!("mlstm.{what}_l{layer}");
        let mut declare = |what: &str, shape: &[usize]| parameters.declare(&name(what), shape);
        let (inner, block) = (inner_size(hidden_size), block_size(hidden_size));
        let heads = heads_of(hidden_size, options);
        assert!(hidden_size.is_multiple_of(heads), "{heads} heads for {hidden_size} units");
        let blocks = [inner / block, block, block];
        let layer = Self {
            inward: (inputs != hidden_size).then(|| declare("in", &[hidden_size, inputs])),
            norm: declare("norm", &[hidden_size]),
            up: declare("up", &[inner, hidden_size]),
            gate: declare("gate", &[inner, hidden_size]),
            query: declare("query", &blocks),
            key: declare("key", &blocks),
            value: declare("value", &blocks),
            gates: ["query", "key", "value"]
                .map(|of| declare(&format!("gates.{of}"), &[2 * heads, inner])),
            gates_bias: declare("gates.bias", &[2 * heads]),
            head_norm: declare("head_norm", &[inner]),
            skip: declare("skip", &[inner, 1, 1]),
            down: declare("down", &[hidden_size, inner]),
            conv: Convolution::declare(parameters, name, inner),
            hidden_size,
            heads,
            dropout: Dropout::default(),
        };
        // Blocks of four are decayed as matrices are, and too small to be made orthogonal.
        for blocks in [layer.query, layer.key, layer.value] {
            parameters.set_role(blocks, Role::Table);
        }
        for gates in layer.gates {
            parameters.set_role(gates, Role::Matrix { parts: 2 });
        }
        layer
    }
}

impl Cell for Mlstm {
    const PARTS: &'static [&'static str] = &["c", "n", "m", "before"];
    const OPTIONS: &'static [&'static str] = &["heads"];

    fn size(inputs: usize, hidden: usize, options: &CellOptions) -> CellSize {
        let (inner, block) = (inner_size(hidden), block_size(hidden));
        let heads = heads_of(hidden, options);
        let inward = if inputs == hidden { 0 } else { inputs * hidden };
        let weights = inward + 3 * inner * hidden + 3 * inner * block + 6 * heads * inner;
        let of_units = (TAPS + 1) * inner; // the convolution and the skip
        let vectors = hidden + 2 * inner + 2 * heads; // norms, and the biases of convolution and gates
        let memory = 2 * inner * inner / heads; // written and read
        CellSize {
            parameters: (weights + of_units + vectors) as u128,
            multiplications: (weights + of_units + memory) as u64,
        }
    }

    fn hidden_size(&self) -> usize {
        self.hidden_size
    }

    fn state_widths(_: usize, hidden: usize, options: &CellOptions) -> Vec<usize> {
        widths(hidden, heads_of(hidden, options))
    }

    fn part_widths(&self) -> Vec<usize> {
        widths(self.hidden_size, self.heads)
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
        for id in [self.up, self.gate, self.query, self.key, self.value] {
            draw(parameters, random, id, small(hidden));
        }
        draw(parameters, random, self.down, small_on_the_way_back(hidden));
        self.conv.initialize(parameters, random);
        for id in [self.norm, self.head_norm, self.skip] {
            fill(parameters, id, 1.0);
        }
        for id in self.gates {
            fill(parameters, id, 0.0);
        }
        draw(parameters, random, self.gates_bias, 0.1);
        evenly(&mut parameters.value_mut(self.gates_bias)[self.heads..], 3.0, 6.0);
    }

    fn sequence<'x, E: Element>(
        &self,
        tape: &mut Tape<'_, E>,
        x: impl Into<Input<'x>>,
        window: Window,
        state: &mut CellState<E>,
    ) -> Var {
        let [c, n, m, before] = state.slices();
        let x = tape.read(x.into()); // (T·B, E)
        let x = self.inward.map_or(x, |inward| tape.linear(x, inward, None)); // (T·B, H)
        let normed = tape.norm(x, layer_norm(1), self.norm, None);
        let u = tape.linear(normed, self.up, None); // (T·B, I)
        let z = tape.linear(normed, self.gate, None); // (T·B, I)
        let conv = self.conv.forward(tape, u, window, before);
        let q = tape.block_linear(conv, self.query);
        let k = tape.block_linear(conv, self.key);
        let v = tape.block_linear(u, self.value);
        let [of_q, of_k, of_v] = self.gates;
        let gates = tape.linear(q, of_q, Some(self.gates_bias)); // (T·B, 2·A)
        let of_k = tape.linear(k, of_k, None);
        let of_v = tape.linear(v, of_v, None);
        let of_keys_and_values = tape.add(of_k, of_v);
        let gates = tape.add(gates, of_keys_and_values);
        let h = tape.mlstm([q, k, v, gates], window, [c, n, m]); // (T·B, I)
        let h = tape.norm(h, layer_norm(self.heads), self.head_norm, None);
        let skipped = tape.block_linear(conv, self.skip);
        let h = tape.add(h, skipped);
        let z = tape.activation(z, Function::Silu);
        let h = tape.multiply(h, z);
        let y = tape.linear(h, self.down, None); // (T·B, H)
        let y = self.dropout.forward(tape, y, window);
        tape.add(x, y)
    }
}
