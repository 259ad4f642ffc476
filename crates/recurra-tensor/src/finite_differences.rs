//! Gradients by finite differences, to check the tape against.

use crate::Parameters;
#[cfg(test)]
use crate::{Cpu, Isa, Tape, Var, Window, Workspace};

/// How far the gradients on the tape are from central differences of the loss.
///
/// For every value θ of every parameter (at most `n_checked` of each, evenly spread), compares the gradient that `loss`
/// left in the store with (L(θ + ε) − L(θ − ε)) / 2ε, ε = 10⁻⁵, and returns the largest |difference| ÷ max(1, |gradient|).
///
/// `loss(parameters, learn)` computes the loss; with `learn` it also runs the backward pass.
///
/// # Panics
/// When `loss` leaves no gradient, or one of both is no finite number.
#[track_caller]
pub fn largest_error(
    parameters: &mut Parameters<f64>,
    n_checked: usize,
    mut loss: impl FnMut(&mut Parameters<f64>, bool) -> f64,
) -> f64 {
    const EPSILON: f64 = 1e-5;
    parameters.clear_gradients();
    loss(parameters, true);
    let gradient_of = |id| parameters.gradient(id).expect("a gradient").to_vec();
    let gradients: Vec<Vec<f64>> = parameters.ids().map(gradient_of).collect();
    let mut worst = 0.0_f64;
    for (id, gradient) in parameters.ids().zip(gradients) {
        let stride = gradient.len().div_ceil(n_checked).max(1);
        for idx in (0..gradient.len()).step_by(stride) {
            let value = parameters.value(id)[idx];
            let mut loss_at = |shifted: f64| {
                parameters.value_mut(id)[idx] = shifted;
                loss(parameters, false)
            };
            let difference =
                (loss_at(value + EPSILON) - loss_at(value - EPSILON)) / (2.0 * EPSILON);
            parameters.value_mut(id)[idx] = value;
            let error = (gradient[idx] - difference).abs() / gradient[idx].abs().max(1.0);
            assert!(
                error.is_finite(),
                "{} at {idx}: {} and {difference}",
                parameters.name(id),
                gradient[idx]
            );
            worst = worst.max(error);
        }
    }
    worst
}

/// The [`largest_error`] behind what `make` makes of a constant x (T·B, 3) and of y = W·x (T·B, 2), for T = 4 and B = 2.
#[cfg(test)]
pub(crate) fn error_behind_a_product(
    make: impl Fn(&mut Tape<'_, f64>, [Var; 2], Window) -> Var,
) -> f64 {
    let cpu = Cpu::with_isa(Isa::Plain, 1);
    let mut parameters = Parameters::<f64>::new();
    let weight = parameters.declare("weight", &[2, 3]);
    parameters.value_mut(weight).copy_from_slice(&[0.5, -1.0, 0.25, 2.0, 0.75, -0.5]);
    let mut workspace = Workspace::new();
    let window = Window { time: 4, batch: 2 };
    largest_error(&mut parameters, 6, |parameters, learn| {
        let mut tape = Tape::training(&cpu, parameters, &mut workspace, 0);
        let values: Vec<f64> = (0..24).map(|i| f64::from(i * 7 % 5) - 2.0).collect();
        let x = tape.constant(&values, 3);
        let y = tape.linear(x, weight, None);
        let out = make(&mut tape, [x, y], window);
        let targets: Vec<f64> = (0..tape.value(out).len()).map(|i| (i % 7) as f64).collect();
        let loss = tape.squared_error(out, &targets);
        if learn {
            tape.backward(loss);
        }
        tape.loss(loss)
    })
}
