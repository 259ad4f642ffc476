//! Mogrifier LSTM.

use recurra_tensor::{
    Element, Input, LstmForm, MOST_ROUNDS, MogrifierWeights, Parameters, Random, RoundWeights,
    Tape, Var, Window,
};

use super::cell::{Cell, CellSize, CellState, declare, initialize_uniform};
use super::lstm::{add_forget_bias, form_of};
use crate::CellOptions;

const N_GATES: usize = 4;

/// A Mogrifier LSTM layer (Melis, Kočiský and Blunsom 2020): before each step of an LSTM, x_t and h_{t−1} scale each other in
/// r rounds, by default five.
///
/// ```text
/// x^i = 2σ(Q^i·h^{i−1}) ⊙ x^{i−2}   for odd i ≤ r        x^{−1} = x_t
/// h^i = 2σ(R^i·x^{i−1}) ⊙ h^{i−2}   for even i ≤ r       h^0 = h_{t−1}
/// h_t, c_t = LSTM(x↑, c_{t−1}, h↑)                        with the last x^i and h^i
/// ```
///
/// Q^i is (E, H) and R^i (H, E), or of a low rank k: Q^i = L·M with L (E, k) and M (k, H). Without rounds it is an LSTM, and with all
/// Q and R 0 too. State dropout goes over h^0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mogrifier {
    weights: MogrifierWeights,
    form: LstmForm,
    hidden_size: usize,
    forget_bias: f32,
}

/// How many rounds.
fn rounds_of(options: &CellOptions) -> usize {
    options.rounds.unwrap_or(5).min(MOST_ROUNDS)
}

/// What round `idx` scales and what it scales it by: their widths.
fn widths(idx: usize, inputs: usize, hidden: usize) -> [usize; 2] {
    if idx.is_multiple_of(2) { [inputs, hidden] } else { [hidden, inputs] }
}

impl Mogrifier {
    /// Declares layer number `layer`: an LSTM's parameters, and `rnn.mogrifier_{i}_l{layer}` of round i, in two factors
    /// `mogrifier_left_{i}` and `mogrifier_right_{i}` where there is a rank.
    pub fn declare<E: Element>(
        parameters: &mut Parameters<E>,
        layer: usize,
        inputs: usize,
        hidden_size: usize,
        options: &CellOptions,
    ) -> Self {
        let recurrent = declare(parameters, layer, N_GATES, inputs, hidden_size, options);
        let mut rounds = [None; MOST_ROUNDS];
        for (idx, round) in rounds[..rounds_of(options)].iter_mut().enumerate() {
            let [width, by] = widths(idx, inputs, hidden_size);
            let mut matrix = |part: &str, shape: [usize; 2]| {
                let name = format!("rnn.mogrifier{part}_{}_l{layer}", idx + 1);
                parameters.declare(&name, &shape)
            };
            *round = Some(match options.rank {
                None => RoundWeights { left: matrix("", [width, by]), right: None },
                Some(rank) => RoundWeights {
                    left: matrix("_left", [width, rank]),
                    right: Some(matrix("_right", [rank, by])),
                },
            });
        }
        let weights = MogrifierWeights { recurrent, rounds };
        let forget_bias = options.forget_bias.unwrap_or(1.0);
        Self { weights, form: form_of(options), hidden_size, forget_bias }
    }
}

impl Cell for Mogrifier {
    const PARTS: &'static [&'static str] = &["h", "c"];
    const OPTIONS: &'static [&'static str] =
        &["forget_bias", "rounds", "rank", "coupled", "state_dropout", "summed_outputs"];

    fn size(inputs: usize, hidden: usize, options: &CellOptions) -> CellSize {
        let CellSize { mut parameters, mut multiplications } =
            CellSize::of_gates(N_GATES, inputs, hidden);
        for idx in 0..rounds_of(options) {
            let [width, by] = widths(idx, inputs, hidden).map(|n| n as u128);
            let weights = options.rank.map_or(width * by, |rank| rank as u128 * (width + by));
            parameters += weights;
            multiplications += weights as u64;
        }
        CellSize { parameters, multiplications }
    }

    fn hidden_size(&self) -> usize {
        self.hidden_size
    }

    fn initialize<E: Element>(&self, parameters: &mut Parameters<E>, random: &mut Random) {
        let recurrent = &self.weights.recurrent;
        initialize_uniform(parameters, recurrent, self.hidden_size, random);
        add_forget_bias(parameters, recurrent, self.hidden_size, self.forget_bias);
        for RoundWeights { left, right } in self.weights.rounds.into_iter().flatten() {
            for id in [Some(left), right].into_iter().flatten() {
                let columns = parameters.shape(id)[1];
                random.fill_uniform(parameters.value_mut(id), 1.0 / (columns as f64).sqrt());
            }
        }
    }

    fn sequence<'x, E: Element>(
        &self,
        tape: &mut Tape<'_, E>,
        x: impl Into<Input<'x>>,
        window: Window,
        state: &mut CellState<E>,
    ) -> Var {
        let x = tape.read(x.into()); // (T·B, E)
        tape.mogrifier(x, &self.weights, self.form, window, state.slices())
    }
}
