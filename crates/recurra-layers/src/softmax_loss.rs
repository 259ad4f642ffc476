//! The output layer of a language model and its loss.

use recurra_tensor::{Element, Input, ParameterId, Parameters, Random, Role, Tape, Var};

/// Output weights, softmax and cross-entropy as one layer: the loss of predicting the next token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SoftmaxLoss {
    /// W (V, H); the embedding's table when tied (Press and Wolf 2017).
    pub weight: ParameterId,
    /// b (V).
    pub bias: ParameterId,
}

impl SoftmaxLoss {
    /// Declares `output.bias` (V) and, unless `tied_to` another matrix (V, H), `output.weight` (V, H).
    pub fn declare<E: Element>(
        parameters: &mut Parameters<E>,
        vocab_size: usize,
        hidden_size: usize,
        tied_to: Option<ParameterId>,
    ) -> Self {
        let weight = tied_to
            .unwrap_or_else(|| parameters.declare("output.weight", &[vocab_size, hidden_size]));
        parameters.set_role(weight, Role::Table);
        Self { weight, bias: parameters.declare("output.bias", &[vocab_size]) }
    }

    /// Draws the weights from U(−0.1, 0.1) and leaves the bias zero, as PyTorch's word_language_model example does.
    pub fn initialize<E: Element>(&self, parameters: &mut Parameters<E>, random: &mut Random) {
        random.fill_uniform(parameters.value_mut(self.weight), 0.1);
    }

    /// Sets the bias to p times the log frequency of each token, p · ln((n_v + ½) / (N + ½V)), so that training starts from the
    /// unigram model to the power p and need not learn first which tokens never occur.
    ///
    /// # Shapes
    /// `counts` (V): how often each token stands in the training text. `power`: p, 1 for the unigram model itself.
    pub fn start_from_counts<E: Element>(
        &self,
        parameters: &mut Parameters<E>,
        counts: &[u64],
        power: f64,
    ) {
        let total = counts.iter().map(|&count| count as f64 + 0.5).sum::<f64>();
        for (bias, &count) in parameters.value_mut(self.bias).iter_mut().zip(counts) {
            *bias = E::from_f64(power * ((count as f64 + 0.5) / total).ln());
        }
    }

    /// The mean nats of `targets`: −(1/N) Σ ln softmax(W·h_n + b)\[target_n\].
    ///
    /// # Shapes
    /// `hidden` (N, H), as it lies or through dropout, `targets` (N) → a loss.
    pub fn loss<'x, E: Element>(
        &self,
        tape: &mut Tape<'_, E>,
        hidden: impl Into<Input<'x>>,
        targets: &[u32],
    ) -> Var {
        tape.cross_entropy(hidden, self.weight, self.bias, targets)
    }

    /// The sum of the nats of `targets`.
    ///
    /// # Shapes
    /// `hidden` (N, H), `targets` (N).
    pub fn nats<E: Element>(&self, tape: &mut Tape<'_, E>, hidden: Var, targets: &[u32]) -> f64 {
        tape.nats(hidden, self.weight, self.bias, targets)
    }

    /// −ln softmax((W·h_n + b) / T)\[target_n\] of every row.
    ///
    /// # Shapes
    /// `hidden` (N, H), `targets` (N) → (N).
    pub fn row_nats<'t, E: Element>(
        &self,
        tape: &'t mut Tape<'_, E>,
        hidden: Var,
        targets: &[u32],
        temperature: f64,
    ) -> &'t [f64] {
        tape.row_nats(hidden, self.weight, self.bias, targets, temperature)
    }

    /// The logits W·h + b.
    ///
    /// # Shapes
    /// `hidden` (N, H) → (N, V).
    pub fn logits<E: Element>(&self, tape: &mut Tape<'_, E>, hidden: Var) -> Var {
        tape.linear(hidden, self.weight, Some(self.bias))
    }
}
