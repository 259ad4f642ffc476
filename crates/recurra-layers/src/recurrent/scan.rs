//! What the cells that are trained as scans share: products of a whole sequence with the input, every unit alone over the steps.

use recurra_tensor::{Element, Parameters, Random, Role, ScanCell, ScanWeights};

use super::CellSize;

/// Declares the parameters of layer `layer`: W (G·H, I), b of the gates that have one, and the vectors of those that have such.
pub(crate) fn declare<E: Element>(
    parameters: &mut Parameters<E>,
    layer: usize,
    cell: ScanCell,
    inputs: usize,
    hidden: usize,
) -> ScanWeights {
    let [rows, biased] = [cell.n_gates(), cell.biased_gates().len()].map(|n| n * hidden);
    let weight = parameters.declare(&format!("rnn.weight_ih_l{layer}"), &[rows, inputs]);
    parameters.set_role(weight, Role::Matrix { parts: cell.n_gates() });
    ScanWeights {
        weight,
        bias: parameters.declare(&format!("rnn.bias_ih_l{layer}"), &[biased]),
        vectors: (cell.n_vectors() > 0).then(|| {
            parameters.declare(&format!("rnn.weight_c_l{layer}"), &[cell.n_vectors() * hidden])
        }),
    }
}

/// What these cost.
pub(crate) fn size(cell: ScanCell, inputs: usize, hidden: usize) -> CellSize {
    let weight = (cell.n_gates() * hidden) as u128 * inputs as u128;
    let beside = (cell.n_vectors() * hidden) as u128;
    let biases = (cell.biased_gates().len() * hidden) as u128;
    CellSize { parameters: weight + biases + beside, multiplications: (weight + beside) as u64 }
}

/// Draws W and b from U(−1/√I, 1/√I), as PyTorch's `nn.Linear` does.
pub(crate) fn initialize_uniform<E: Element>(
    parameters: &mut Parameters<E>,
    weights: &ScanWeights,
    inputs: usize,
    random: &mut Random,
) {
    let bound = 1.0 / (inputs as f64).sqrt();
    for id in [weights.weight, weights.bias] {
        random.fill_uniform(parameters.value_mut(id), bound);
    }
}

/// Adds `shift` to the bias of gate number `gate` of those that have one.
pub(crate) fn shift_bias<E: Element>(
    parameters: &mut Parameters<E>,
    weights: &ScanWeights,
    hidden: usize,
    gate: usize,
    shift: f32,
) {
    for bias in &mut parameters.value_mut(weights.bias)[gate * hidden..(gate + 1) * hidden] {
        *bias += E::from_f64(f64::from(shift));
    }
}
