//! Minimal long short-term memory.

use recurra_tensor::ScanCell;

use super::minimal::{Minimal, MinimalCell};

/// A minLSTM layer (Feng et al. 2024): an LSTM whose gates see only the input and share one unit between old and new, so that
/// all products are made for all t at once and nothing grows with t.
///
/// Forward, with a = W·x_t + b cut into three blocks of H rows:
///
/// ```text
/// f = σ(a_f)    i = σ(a_i)
/// f' = f / (f + i)    i' = i / (f + i)
/// h_t = f' ⊙ h_{t−1} + i' ⊙ a_g
/// ```
///
/// as in the paper's section 3; [`MinGru`](super::MinGru) says what its language models have beside.
///
/// Backward through time, from t = T to 1, with δh the gradient of h_t:
///
/// ```text
/// δa_f = δh ⊙ (h_{t−1} − a_g) ⊙ f' ⊙ i' ⊙ (1 − f)        δa_g = δh ⊙ i'
/// δa_i = δh ⊙ (a_g − h_{t−1}) ⊙ f' ⊙ i' ⊙ (1 − i)        δh_{t−1} = δh ⊙ f'
/// δW = Σ_t δa·x_tᵀ        δb = Σ_t δa        δx_t = Wᵀ·δa
/// ```
pub type MinLstm = Minimal<MinLstmCell>;

/// The recurrence of a [`MinLstm`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MinLstmCell;

const GATE_F: usize = 0;

impl MinimalCell for MinLstmCell {
    const SCAN: ScanCell = ScanCell::MinLstm;

    /// Added to the bias of f.
    fn shift(forget_bias: f32) -> (usize, f32) {
        (GATE_F, forget_bias)
    }
}
