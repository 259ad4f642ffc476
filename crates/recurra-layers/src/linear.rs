//! An affine map.

use recurra_tensor::{Element, ParameterId, Parameters, Random, Tape, Var};

/// y = x·Wᵀ + b.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Linear {
    /// W (O, I).
    pub weight: ParameterId,
    /// b (O).
    pub bias: ParameterId,
}

impl Linear {
    /// Declares `<name>.weight` (O, I) and `<name>.bias` (O).
    pub fn declare<E: Element>(
        parameters: &mut Parameters<E>,
        name: &str,
        inputs: usize,
        outputs: usize,
    ) -> Self {
        Self {
            weight: parameters.declare(&format!("{name}.weight"), &[outputs, inputs]),
            bias: parameters.declare(&format!("{name}.bias"), &[outputs]),
        }
    }

    /// Draws both from U(−1/√I, 1/√I), as PyTorch's `nn.Linear` does.
    pub fn initialize<E: Element>(&self, parameters: &mut Parameters<E>, random: &mut Random) {
        let inputs = parameters.shape(self.weight)[1];
        let bound = 1.0 / (inputs as f64).sqrt();
        random.fill_uniform(parameters.value_mut(self.weight), bound);
        random.fill_uniform(parameters.value_mut(self.bias), bound);
    }

    /// Maps every row.
    ///
    /// # Shapes
    /// `x` (N, I) → (N, O).
    pub fn forward<E: Element>(&self, tape: &mut Tape<'_, E>, x: Var) -> Var {
        tape.linear(x, self.weight, Some(self.bias))
    }
}
