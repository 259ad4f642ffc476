//! How likely a model finds given tokens: in windows where training's kernels compute, in single steps where the model is
//! prepared.

use recurra_models::{State, Stepper};
use recurra_tensor::step::log_sum_exp;
use recurra_tensor::{Tape, Window, Workspace};

use crate::ModelRef;

/// What is wanted of every token that is read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wanted {
    /// Its nats where logits are divided by each of these.
    pub temperatures: Vec<f64>,
    /// What the output layer read before it.
    pub hidden: bool,
}

/// What was wanted of the tokens of a window.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    /// −ln p of each token (T), for each temperature.
    pub nats: Vec<Vec<f64>>,
    /// What the output layer read before each (T, H), or nothing.
    pub hidden: Vec<f32>,
}

impl Wanted {
    /// The nats alone.
    pub fn nats() -> Self {
        Self { temperatures: vec![1.0], hidden: false }
    }
}

impl Reading {
    /// Forgets the window before.
    pub fn start(&mut self, wanted: &Wanted) {
        self.nats.resize(wanted.temperatures.len(), Vec::new());
        self.nats.iter_mut().for_each(Vec::clear);
        self.hidden.clear();
    }
}

/// Reads tokens and says what each was worth.
#[derive(Debug)]
pub(crate) struct Predictor<'a, 'w> {
    model: ModelRef<'a>,
    workspace: &'w mut Workspace<f32>,
    stepper: Option<Stepper>,
    reading: Reading,
}

impl<'a, 'w> Predictor<'a, 'w> {
    pub(crate) fn new(model: ModelRef<'a>, workspace: &'w mut Workspace<f32>) -> Self {
        let stepper = model.prepared.map(|prepared| Stepper::new(model.cpu, prepared, 1));
        Self { model, workspace, stepper, reading: Reading::default() }
    }

    /// −Σ ln p of `targets`, each after the input at its place and all before it; `state` is carried on.
    pub(crate) fn nats(&mut self, inputs: &[u32], targets: &[u32], state: &mut State<f32>) -> f64 {
        self.read(inputs, targets, state, &Wanted::nats()).nats[0].iter().sum()
    }

    /// What is wanted of `targets`, each after the input at its place and all before it; `state` is carried on.
    ///
    /// # Panics
    /// When more than the nats is wanted of a prepared model.
    #[track_caller]
    pub(crate) fn read(
        &mut self,
        inputs: &[u32],
        targets: &[u32],
        state: &mut State<f32>,
        wanted: &Wanted,
    ) -> &Reading {
        let ModelRef { cpu, network, parameters, prepared, .. } = self.model;
        let reading = &mut self.reading;
        reading.start(wanted);
        let (Some(prepared), Some(stepper)) = (prepared, &mut self.stepper) else {
            let window = Window { time: targets.len(), batch: 1 };
            let mut tape = Tape::inference(cpu, parameters, self.workspace);
            let hidden = network.read(&mut tape, inputs, window, state); // (T, H)
            for (nats, &temperature) in reading.nats.iter_mut().zip(&wanted.temperatures) {
                nats.extend(network.row_nats(&mut tape, hidden, targets, temperature));
            }
            if wanted.hidden {
                reading.hidden.extend(tape.value(hidden));
            }
            return reading;
        };
        assert_eq!(wanted, &Wanted::nats(), "wanted of a prepared model");
        stepper.set_state(state);
        for (&input, &target) in inputs.iter().zip(targets) {
            for logits in stepper.logits(cpu, prepared, parameters, &[input]) {
                reading.nats[0].push(log_sum_exp(logits) - f64::from(logits[target as usize]));
            }
        }
        *state = stepper.state();
        reading
    }
}
