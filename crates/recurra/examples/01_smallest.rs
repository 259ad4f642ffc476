//! The smallest one: predict y₁, y₂, y₃ from x₁, x₂, x₃ with one LSTM layer and plain gradient descent.
//!
//! y_t is the sum of all x up to t, so it cannot be told from x_t alone: the layer has to remember.

use std::error::Error;

use recurra::layers::{Cell as _, CellOptions, Linear, Lstm};
use recurra::tensor::{Cpu, Optimizer, Parameters, Random, Tape, Window, Workspace};

const X: [f32; 3] = [0.5, -0.2, 0.4];
const Y: [f32; 3] = [0.5, 0.3, 0.7];

/// Runs the example.
pub fn main() -> Result<(), Box<dyn Error>> {
    // All numbers live in one flat store; layers know only their names and shapes.
    let mut parameters = Parameters::<f32>::new();
    let lstm = Lstm::declare(&mut parameters, 0, 1, 8, &CellOptions::default()); // 1 input, 8 hidden units
    let output = Linear::declare(&mut parameters, "output", 8, 1, true); // 8 hidden units, 1 output
    let mut random = Random::new(1, 0);
    lstm.initialize(&mut parameters, &mut random);
    output.initialize(&mut parameters, &mut random);

    let cpu = Cpu::new(1)?;
    let mut workspace = Workspace::new();
    let window = Window { time: 3, batch: 1 };
    let (mut loss, mut predicted) = (f64::INFINITY, [0.0; 3]);
    for step in 1..=2000 {
        // Forward: x₁, x₂, x₃ → h₁, h₂, h₃ → ŷ₁, ŷ₂, ŷ₃.
        let mut tape = Tape::training(&cpu, &mut parameters, &mut workspace, 0);
        let mut state = lstm.zero_state(1);
        let x = tape.constant(&X, 1); // (3, 1)
        let h = lstm.sequence(&mut tape, x, window, &mut state); // (3, 8)
        let y = output.forward(&mut tape, h); // (3, 1)
        predicted.copy_from_slice(tape.value(y));

        // loss = mean (ŷ − y)², and its gradient with respect to every parameter.
        let squared_error = tape.squared_error(y, &Y);
        loss = tape.loss(squared_error);
        tape.backward(squared_error);

        // θ ← θ − 0.1 · ∂loss/∂θ.
        Optimizer::SGD.step(&cpu, &mut parameters, step, 0.1, None);
        if step.is_power_of_two() {
            println!("step {step:>4}: loss {loss:.6}");
        }
    }
    println!("predicted {predicted:.3?}, wanted {Y:?}");
    assert!(loss < 1e-3, "the loss is still {loss}");
    Ok(())
}
