//! A vector for each token.

use recurra_tensor::{Element, Input, ParameterId, Parameters, Random, Role, Tape, Var};

/// A learned table of V vectors of size E.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Embedding {
    /// The table (V, E).
    pub weight: ParameterId,
    /// V.
    pub vocab_size: usize,
}

impl Embedding {
    /// Declares `embedding.weight` (V, E).
    pub fn declare<E: Element>(
        parameters: &mut Parameters<E>,
        vocab_size: usize,
        embed_size: usize,
    ) -> Self {
        let weight = parameters.declare("embedding.weight", &[vocab_size, embed_size]);
        parameters.set_role(weight, Role::Table);
        Self { weight, vocab_size }
    }

    /// Draws the table from U(−0.1, 0.1), as PyTorch's word_language_model example does.
    pub fn initialize<E: Element>(&self, parameters: &mut Parameters<E>, random: &mut Random) {
        random.fill_uniform(parameters.value_mut(self.weight), 0.1);
    }

    /// The vectors of `ids` as an input for a recurrent layer, which reads them from the table.
    ///
    /// # Shapes
    /// `ids` (N) → (N, E).
    pub fn input<'a>(&self, ids: &'a [u32]) -> Input<'a> {
        Input::rows(self.weight, ids)
    }

    /// The vectors of `ids`, whole words of which are dropped with probability `rate` in training (Gal and Ghahramani 2016).
    ///
    /// # Shapes
    /// `ids` (N) → (N, E).
    pub fn with_word_dropout<'a, E: Element>(
        &self,
        tape: &mut Tape<'_, E>,
        ids: &'a [u32],
        rate: f32,
    ) -> Input<'a> {
        if rate == 0.0 || !tape.is_training() {
            return self.input(ids);
        }
        let x = self.forward(tape, ids);
        tape.word_dropout(x, ids, self.vocab_size, rate).into()
    }

    /// The vectors of `ids`.
    ///
    /// # Shapes
    /// `ids` (N) → (N, E).
    pub fn forward<E: Element>(&self, tape: &mut Tape<'_, E>, ids: &[u32]) -> Var {
        tape.read(self.input(ids))
    }
}
