//! mLSTM blocks.

use recurra_tensor::activation::Function;
use recurra_tensor::norm::{Kind, Norm};
use recurra_tensor::{Element, Input, ParameterId, Parameters, Random, Tape, Var, Window};

use super::cell::{Cell, CellSize, CellState};
use crate::CellOptions;

/// K: steps that the convolution sees.
pub(super) const TAPS: usize = 4;
/// ε of the norms.
const EPSILON: f32 = 1e-5;

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
    dropout: f32,
}

/// The parameters of a causal convolution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Convolution {
    /// (C, 1, K)
    pub weight: ParameterId,
    /// (C)
    pub bias: ParameterId,
}

/// I: units of the mLSTM.
fn inner_size(hidden: usize) -> usize {
    2 * hidden
}

/// Rows of a block of W_q, W_k and W_v: 4, or 2 where I is no multiple of that.
fn block_size(hidden: usize) -> usize {
    if inner_size(hidden).is_multiple_of(4) { 4 } else { 2 }
}

/// A: the heads that were asked for; by default four where they divide H, else one.
///
/// # Panics
/// When those asked for do not divide H.
#[track_caller]
pub(super) fn heads_of(hidden: usize, options: &CellOptions) -> usize {
    let heads = options.heads.unwrap_or(if hidden.is_multiple_of(4) { 4 } else { 1 });
    assert!(heads > 0 && hidden.is_multiple_of(heads), "{heads} heads for {hidden} units");
    heads
}

/// Layer norm of a row, or of each of its groups.
pub(super) fn layer_norm(groups: usize) -> Norm {
    Norm { kind: Kind::Layer, groups, epsilon: EPSILON }
}

/// Draws a weight uniformly with the given standard deviation.
pub(super) fn draw<E: Element>(
    parameters: &mut Parameters<E>,
    random: &mut Random,
    id: ParameterId,
    deviation: f64,
) {
    random.fill_uniform(parameters.value_mut(id), deviation * 3.0_f64.sqrt());
}

/// Sets all of a parameter to one number.
pub(super) fn fill<E: Element>(parameters: &mut Parameters<E>, id: ParameterId, value: f64) {
    parameters.value_mut(id).fill(E::from_f64(value));
}

/// √(2 / 5n): the deviation of weights that read n numbers (Nguyen and Salazar 2019).
pub(super) fn small(inputs: usize) -> f64 {
    (2.0 / (5.0 * inputs as f64)).sqrt()
}

/// 2 / (L·√n): the deviation of weights that lead back to the residual stream (Wang and Komatsuzaki 2021), for L = 6 blocks,
/// because a block does not know how many there are.
pub(super) fn small_on_the_way_back(inputs: usize) -> f64 {
    2.0 / (6.0 * (inputs as f64).sqrt())
}

/// n values from `first` to `last`.
pub(super) fn evenly<E: Element>(values: &mut [E], first: f64, last: f64) {
    let steps = values.len().max(2) - 1;
    for (idx, value) in values.iter_mut().enumerate() {
        *value = E::from_f64(first + (last - first) * idx as f64 / steps as f64);
    }
}

impl Convolution {
    pub(super) fn declare<E: Element>(
        parameters: &mut Parameters<E>,
        name: impl Fn(&str) -> String,
        cols: usize,
    ) -> Self {
        Self {
            weight: parameters.declare(&name("conv.weight"), &[cols, 1, TAPS]),
            bias: parameters.declare(&name("conv.bias"), &[cols]),
        }
    }

    /// As PyTorch's `Conv1d` begins: U(±1/√K).
    pub(super) fn initialize<E: Element>(
        self,
        parameters: &mut Parameters<E>,
        random: &mut Random,
    ) {
        for id in [self.weight, self.bias] {
            random.fill_uniform(parameters.value_mut(id), 1.0 / (TAPS as f64).sqrt());
        }
    }

    /// silu(conv(x)); `before` as [`Tape::causal_convolution`] has it.
    pub(super) fn forward<E: Element>(
        self,
        tape: &mut Tape<'_, E>,
        x: Var,
        window: Window,
        before: &mut [E],
    ) -> Var {
        let c = tape.causal_convolution(x, self.weight, self.bias, window, before);
        tape.activation(c, Function::Silu)
    }
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
        let blocks = [inner / block, block, block];
        Self {
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
            dropout: 0.0,
        }
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
        let (inner, heads) = (inner_size(hidden), heads_of(hidden, options));
        vec![inner * inner / heads, inner, heads, (TAPS - 1) * inner]
    }

    fn part_widths(&self) -> Vec<usize> {
        let inner = inner_size(self.hidden_size);
        vec![inner * inner / self.heads, inner, self.heads, (TAPS - 1) * inner]
    }

    fn with_branch_dropout(self, rate: f32) -> (Self, bool) {
        (Self { dropout: rate, ..self }, true)
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
        let y = tape.dropout(y, self.dropout);
        tape.add(x, y)
    }
}
