//! An affine map, with or without a bias.

use recurra_tensor::{Element, ParameterId, Parameters, Random, Tape, Var};

/// y = x·Wᵀ, plus b where there is one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Linear {
    /// W (O, I).
    pub weight: ParameterId,
    /// b (O).
    pub bias: Option<ParameterId>,
}

impl Linear {
    /// Declares `<name>.weight` (O, I) and, where asked for, `<name>.bias` (O).
    pub fn declare<E: Element>(
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

    /// Draws weights and bias from U(−1/√I, 1/√I), as PyTorch's `nn.Linear` does.
    pub fn initialize<E: Element>(&self, parameters: &mut Parameters<E>, random: &mut Random) {
        self.draw_weight(parameters, random, 1.0);
        if let Some(bias) = self.bias {
            let bound = self.bound(parameters);
            random.fill_uniform(parameters.value_mut(bias), bound);
        }
    }

    /// Draws the weights from U(−f/√I, f/√I) and leaves the bias zero.
    pub(crate) fn draw_weight<E: Element>(
        &self,
        parameters: &mut Parameters<E>,
        random: &mut Random,
        factor: f64,
    ) {
        let bound = factor * self.bound(parameters);
        random.fill_uniform(parameters.value_mut(self.weight), bound);
    }

    /// 1/√I.
    fn bound<E: Element>(&self, parameters: &Parameters<E>) -> f64 {
        1.0 / (parameters.shape(self.weight)[1] as f64).sqrt()
    }

    /// Maps every row.
    ///
    /// # Shapes
    /// `x` (N, I) → (N, O).
    pub fn forward<E: Element>(&self, tape: &mut Tape<'_, E>, x: Var) -> Var {
        tape.linear(x, self.weight, self.bias)
    }
}
