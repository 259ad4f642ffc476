//! How likely a model finds given tokens: in windows where training's kernels compute, in single steps where the model is
//! prepared.

use recurra_models::{State, Stepper};
use recurra_tensor::step::log_sum_exp;
use recurra_tensor::{Tape, Window, Workspace};

use crate::ModelRef;

/// Reads tokens and adds up what each was worth.
#[derive(Debug)]
pub(crate) struct Predictor<'a, 'w> {
    model: ModelRef<'a>,
    workspace: &'w mut Workspace<f32>,
    stepper: Option<Stepper>,
}

impl<'a, 'w> Predictor<'a, 'w> {
    pub(crate) fn new(model: ModelRef<'a>, workspace: &'w mut Workspace<f32>) -> Self {
        let stepper = model.prepared.map(|prepared| Stepper::new(model.cpu, prepared, 1));
        Self { model, workspace, stepper }
    }

    /// −Σ ln p of `targets`, each after the input at its place and all before it; `state` is carried on.
    pub(crate) fn nats(&mut self, inputs: &[u32], targets: &[u32], state: &mut State<f32>) -> f64 {
        let ModelRef { cpu, network, parameters, prepared, .. } = self.model;
        let (Some(prepared), Some(stepper)) = (prepared, &mut self.stepper) else {
            let window = Window { time: targets.len(), batch: 1 };
            let mut tape = Tape::inference(cpu, parameters, self.workspace);
            return network.nats(&mut tape, inputs, targets, window, state);
        };
        stepper.set_state(state);
        let mut nats = 0.0;
        for (&input, &target) in inputs.iter().zip(targets) {
            for logits in stepper.logits(cpu, prepared, parameters, &[input]) {
                nats += log_sum_exp(logits) - f64::from(logits[target as usize]);
            }
        }
        *state = stepper.state();
        nats
    }
}
