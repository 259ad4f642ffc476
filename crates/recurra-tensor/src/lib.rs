//! Tensors, the gradient tape, parameters, random numbers; the only caller of the kernels.
//!
//! A training step reads in one direction:
//!
//! ```
//! use recurra_tensor::{Cpu, Optimizer, Parameters, Tape, Workspace};
//!
//! let cpu = Cpu::new(1).unwrap();
//! let mut parameters = Parameters::<f32>::new();
//! let weight = parameters.declare("weight", &[1, 2]); // (out, in)
//! let bias = parameters.declare("bias", &[1]);
//! let mut workspace = Workspace::new();
//! let mut losses = Vec::new();
//! for step in 1..=50 {
//!     let mut tape = Tape::training(&cpu, &mut parameters, &mut workspace, 0);
//!     let x = tape.constant(&[1.0, 2.0, 3.0, -1.0], 2); // two rows of two numbers
//!     let y = tape.linear(x, weight, Some(bias));
//!     let loss = tape.squared_error(y, &[3.0, 1.0]);
//!     losses.push(tape.loss(loss));
//!     tape.backward(loss);
//!     Optimizer::SGD.step(&cpu, &mut parameters, step, 0.05, None);
//! }
//! assert!(losses[49] < 0.01 * losses[0]);
//! ```
#![warn(missing_docs)]

mod arena;
mod dynamic;
pub mod finite_differences;
mod gradients;
mod ops;
mod optimizer;
mod packed;
mod parameters;
mod products;
mod random;
mod tape;

pub use arena::Arena;
pub use dynamic::DynamicParameters;
pub use ops::input::Input;
pub use ops::lstm::LstmForm;
pub use ops::mogrifier::{MOST_ROUNDS, MogrifierWeights, RoundWeights};
pub use ops::rnn::Activation;
pub use ops::scan::ScanWeights;
pub use ops::slstm::SlstmWeights;
pub use ops::sweep::RecurrentWeights;
pub use optimizer::{Method, Moments, Optimizer, Step};
pub use parameters::{ParameterId, Parameters, Role};
pub use products::dot_products;
pub use random::Random;
pub use recurra_kernels::scan::ScanCell;
pub use recurra_kernels::{
    Cpu, Element, Isa, IsaError, Precision, activation, attention, norm, step,
};
pub use tape::{Tape, Var, Window, Workspace};
