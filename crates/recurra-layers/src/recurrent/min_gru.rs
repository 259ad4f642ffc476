//! Minimal gated recurrent unit.

use recurra_tensor::ScanCell;

use super::minimal::{Minimal, MinimalCell};

/// A minGRU layer (Feng et al. 2024): a GRU whose gates see only the input, so that all products are made for all t at once.
///
/// Forward, with a = W·x_t + b cut into two blocks of H rows:
///
/// ```text
/// z = σ(a_z)
/// h_t = (1 − z) ⊙ h_{t−1} + z ⊙ a_g
/// ```
///
/// as in the paper's section 3. Its appendix B makes a_g positive, so that a parallel scan can work with logarithms; here the scan
/// goes step by step and takes none. With an h that is positive a stack of four of these layers has learned no more than the
/// frequencies of words after 400 updates on the Penn Treebank: all units push all logits the same way.
///
/// Backward through time, from t = T to 1, with δh the gradient of h_t:
///
/// ```text
/// δa_z = δh ⊙ (a_g − h_{t−1}) ⊙ z ⊙ (1 − z)        δa_g = δh ⊙ z
/// δh_{t−1} = δh ⊙ (1 − z)
/// δW = Σ_t δa·x_tᵀ        δb = Σ_t δa        δx_t = Wᵀ·δa
/// ```
///
/// A language model of the paper has more around it in each layer (norms, a convolution over four steps, a feed-forward part,
/// all beside residual links); this is the cell alone.
pub type MinGru = Minimal<MinGruCell>;

/// The recurrence of a [`MinGru`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MinGruCell;

const GATE_Z: usize = 0;

impl MinimalCell for MinGruCell {
    const SCAN: ScanCell = ScanCell::MinGru;

    /// Taken from the bias of z.
    fn shift(forget_bias: f32) -> (usize, f32) {
        (GATE_Z, -forget_bias)
    }
}
