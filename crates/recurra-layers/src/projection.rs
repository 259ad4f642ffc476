//! An affine map with or without a bias: what a block of a Transformer is made of.

use recurra_tensor::{Element, ParameterId, Parameters, Random, Tape, Var};

/// y = x·Wᵀ, plus b where there is one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Projection {
    /// (O, I)
    pub(crate) weight: ParameterId,
    /// (O)
    bias: Option<ParameterId>,
}

impl Projection {
    /// Declares `<name>.weight` (O, I) and, where asked for, `<name>.bias` (O).
    pub(crate) fn declare<E: Element>(
        parameters: &mut Parameters<E>,
        name: &str,
        inputs: usize,
        outputs: usize,
        has_bias: bool,
    ) -> Self {
        let weight = parameters.declare(&format!("{name}.weight"), &[outputs, inputs]);
        let bias = has_bias.then(|| parameters.declare(&format!("{name}.bias"), &[outputs]));
        Self { weight, bias }
    }

    /// How many numbers it learns.
    pub(crate) fn n_parameters(inputs: usize, outputs: usize, has_bias: bool) -> u128 {
        outputs as u128 * (inputs as u128 + u128::from(has_bias))
    }

    /// Draws the weights from U(−f/√I, f/√I) and leaves the bias zero.
    pub(crate) fn initialize<E: Element>(
        &self,
        parameters: &mut Parameters<E>,
        random: &mut Random,
        factor: f64,
    ) {
        let inputs = parameters.shape(self.weight)[1];
        let bound = factor / (inputs as f64).sqrt();
        random.fill_uniform(parameters.value_mut(self.weight), bound);
    }

    /// Maps every row.
    ///
    /// # Shapes
    /// `x` (N, I) → (N, O).
    pub(crate) fn forward<E: Element>(&self, tape: &mut Tape<'_, E>, x: Var) -> Var {
        tape.linear(x, self.weight, self.bias)
    }
}
