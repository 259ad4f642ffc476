//! Clip, update, average, lay out and forget the gradient in one pass over the flat store.

use std::iter::zip;
use std::ops::Range;

use recurra_kernels::layer::{self, PackedLayer};
use recurra_kernels::muon::{self, Muon};
use recurra_kernels::update::{self, Adam, Pass, Rule, Sgd};
use recurra_kernels::{Cpu, Element};

use crate::parameters::{ParameterId, Parameters, Role};

/// How parameters follow their gradients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Optimizer {
    /// By which formula.
    pub method: Method,
    /// λ, how much values are pulled to zero; each method says how.
    pub weight_decay: f64,
    /// Whether weight decay leaves biases, norms and other vectors alone; PyTorch's optimizers pull at everything.
    pub spares_vectors: bool,
}

/// The formula of an [`Optimizer`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Method {
    /// Stochastic gradient descent: v ← μ·v + g, θ ← θ − η·v, with g including λ·θ (PyTorch's `SGD`).
    Sgd {
        /// μ; 0 keeps no v.
        momentum: f64,
    },
    /// Adam (Kingma and Ba 2015), with g including λ·θ (PyTorch's `Adam`).
    Adam(Moments),
    /// Adam with decoupled weight decay, θ ← θ − η·λ·θ (Loshchilov and Hutter 2019, PyTorch's `AdamW`).
    AdamW(Moments),
    /// [`Muon`] for matrices (Jordan and others 2024), AdamW for tables and vectors; both with decoupled weight decay.
    Muon {
        /// μ of the matrices.
        momentum: f64,
        /// Of everything else.
        others: Moments,
    },
}

/// The numbers of Adam.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moments {
    /// Decay of the first moment; 0 keeps none.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
}

/// One step of an [`Optimizer`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Which it is, counted from 1.
    pub number: u64,
    /// η.
    pub lr: f64,
    /// The largest joint norm of all gradients.
    pub clip: Option<f64>,
    /// By how much of its distance to the values their [average](Parameters::swap_average) follows; `None` leaves it alone.
    pub average: Option<f64>,
}

impl Default for Moments {
    /// PyTorch's numbers.
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }
    }
}

impl Optimizer {
    /// Plain gradient descent.
    pub const SGD: Self = Self::new(Method::Sgd { momentum: 0.0 });
    /// AdamW with PyTorch's decay rates and no weight decay.
    pub const ADAMW: Self =
        Self::new(Method::AdamW(Moments { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }));

    /// Without weight decay.
    pub const fn new(method: Method) -> Self {
        Self { method, weight_decay: 0.0, spares_vectors: false }
    }

    /// The same with another decay of the first moments of Adam, for schedules that change it. PyTorch's correction of the
    /// start takes it as if it had always been so.
    ///
    /// # Panics
    /// When the method is none of Adam or AdamW, or one of both decay rates is 0, with which no first moment is kept.
    #[track_caller]
    pub fn with_beta1(mut self, beta1: f64) -> Self {
        match &mut self.method {
            Method::Adam(moments) | Method::AdamW(moments)
                if (moments.beta1 == 0.0) == (beta1 == 0.0) =>
            {
                moments.beta1 = beta1;
            }
            method => panic!("a first moment that decays with {beta1} for {method:?}"),
        }
        self
    }

    /// How many slabs of state it keeps beside the parameters.
    pub fn n_moments(self) -> usize {
        let step = Step { number: 1, lr: 0.0, clip: None, average: None };
        let of_rule = self.rule(Role::Vector, &step, 1.0).n_moments();
        if let Method::Muon { .. } = self.method { of_rule.max(1) } else { of_rule }
    }

    /// Whether a parameter whose gradient is zero stays as it is, so that unread rows of an embedding can be passed over.
    fn skips_zero_gradients(self) -> bool {
        self.method == Method::Sgd { momentum: 0.0 } && self.weight_decay == 0.0
    }

    /// Scales all gradients so that their joint norm is at most `clip` (Pascanu et al. 2013), follows them with the
    /// learning rate `lr`, and sets them to zero; returns their norm before clipping. `step` counts from 1.
    ///
    /// When the norm is not finite, nothing changes: the caller decides what that means.
    pub fn step<E: Element>(
        self,
        cpu: &Cpu,
        parameters: &mut Parameters<E>,
        step: u64,
        lr: f64,
        clip: Option<f64>,
    ) -> f64 {
        self.make(cpu, parameters, &Step { number: step, lr, clip, average: None })
    }

    /// [`step`](Self::step), with the average of the values behind it.
    ///
    /// When the norm is not finite, the average stays as it is too.
    pub fn make<E: Element>(self, cpu: &Cpu, parameters: &mut Parameters<E>, step: &Step) -> f64 {
        if parameters.n_moments() != self.n_moments() {
            parameters.set_n_moments(self.n_moments());
        }
        let gradients = &parameters.gradients;
        let squares = parameters.ids().map(|id| gradients.squared_norm(cpu, id));
        let norm = squares.sum::<f64>().sqrt();
        if !norm.is_finite() {
            return norm;
        }
        let scale = step.clip.map_or(1.0, |clip| (clip / (norm + 1e-6)).min(1.0));
        // The average of what stays moves on.
        let skips = self.skips_zero_gradients() && step.average.is_none();
        let changing: Vec<Vec<Range<usize>>> = match skips {
            true => parameters.ids().map(|id| gradients.written_ranges(id)).collect(),
            false => gradients.ranges().iter().map(|range| vec![range.clone()]).collect(),
        };
        let ways: Vec<Way> =
            parameters.ids().map(|id| self.way(parameters, id, step, scale)).collect();
        follow(cpu, parameters, ways, step.average, changing);
        norm
    }

    /// How one parameter follows its gradient.
    fn way<E: Element>(
        self,
        parameters: &Parameters<E>,
        id: ParameterId,
        step: &Step,
        scale: f64,
    ) -> Way {
        let role = parameters.role(id);
        match (self.method, role, parameters.shape(id)) {
            (Method::Muon { momentum, .. }, Role::Matrix { parts }, &[.., cols]) => {
                let (lr, weight_decay) = (step.lr, self.weight_decay);
                Way::Muon(Muon { lr, momentum, weight_decay, scale }, [parts, cols])
            }
            _ => Way::Rule(self.rule(role, step, scale)),
        }
    }

    /// The rule of what is no matrix to Muon.
    fn rule(self, role: Role, step: &Step, scale: f64) -> Rule {
        let is_spared = self.spares_vectors && role == Role::Vector;
        let weight_decay = if is_spared { 0.0 } else { self.weight_decay };
        let lr = step.lr;
        let (Moments { beta1, beta2, epsilon }, is_decoupled) = match self.method {
            Method::Sgd { momentum } => {
                return Rule::Sgd(Sgd { lr, momentum, weight_decay, scale });
            }
            Method::Adam(moments) => (moments, false),
            Method::AdamW(moments) | Method::Muon { others: moments, .. } => (moments, true),
        };
        let step = step.number;
        Rule::Adam(Adam { lr, beta1, beta2, epsilon, weight_decay, is_decoupled, step, scale })
    }
}

/// How one parameter follows its gradient.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    Rule(Rule),
    /// Matrices one on top of the other: how many, and their columns.
    Muon(Muon, [usize; 2]),
}

/// One step of each parameter on its way, in some ranges of it past which its gradient is zero and it stays, and of the average
/// behind it; then no gradient is left.
pub(crate) fn follow<E: Element>(
    cpu: &Cpu,
    parameters: &mut Parameters<E>,
    ways: Vec<Way>,
    average: Option<f64>,
    mut changing: Vec<Vec<Range<usize>>>,
) {
    let whole = parameters.gradients.ranges().to_vec();
    let store = parameters.for_update(average.is_some());
    let (mut slabs, workspace) = (store.slabs, store.muon);
    if layer::is_available(cpu)
        && let Some(mut slabs) = slabs.as_f32()
    {
        // Both weights of a layer, and what becomes of them laid out, unless another layer has changed one of them already.
        store.layers.write(store.version, |weights, copies| {
            let ranges = weights.map(|id| whole[id.index()].clone());
            let [Way::Rule(rule), Way::Rule(other)] = weights.map(|id| ways[id.index()]) else {
                return false;
            };
            let is_due = rule == other
                && zip(weights, &ranges).all(|(id, range)| changing[id.index()] == [range.clone()]);
            if is_due {
                weights.into_iter().for_each(|id| changing[id.index()].clear());
                let pass = Pass { rule, average };
                let parts = slabs.parts(ranges).map(|part| part.with_moments(rule.n_moments()));
                PackedLayer::update_all(copies, cpu, pass, parts);
            }
            is_due
        });
    }
    for (way, ranges) in zip(ways, changing) {
        for range in ranges {
            let [part] = slabs.parts([range]);
            match way {
                Way::Rule(rule) => {
                    let part = part.with_moments(rule.n_moments());
                    update::step(cpu, Pass { rule, average }, part);
                }
                Way::Muon(muon, shape) => {
                    muon::step(cpu, muon, shape, part, average, workspace);
                }
            }
        }
    }
    parameters.ids().for_each(|id| parameters.gradients.forget(id));
}

#[cfg(test)]
mod tests {
    use super::*;
    use recurra_kernels::Isa;

    /// A table, a weight of two matrices and a bias.
    fn store() -> (Parameters<f64>, [ParameterId; 3]) {
        let mut parameters = Parameters::new();
        let ids = [("table", vec![5, 3]), ("weight", vec![4, 3]), ("bias", vec![4])]
            .map(|(name, shape)| parameters.declare(name, &shape));
        parameters.set_role(ids[0], Role::Table);
        parameters.set_role(ids[1], Role::Matrix { parts: 2 });
        for id in ids {
            let values = parameters.value_mut(id).iter_mut().enumerate();
            values.for_each(|(idx, x)| *x = idx as f64 * 0.3 - 1.0);
        }
        (parameters, ids)
    }

    /// Gives every parameter the same kind of gradient; of the table only row 2 is written.
    fn backward(
        parameters: &mut Parameters<f64>,
        [table, weight, bias]: [ParameterId; 3],
        by: f64,
    ) {
        let cpu = Cpu::with_isa(Isa::Plain, 1);
        let (_, gradients, _) = parameters.for_training();
        gradients.add_to_rows(&cpu, table, &[2], 3, |table| table[6..9].fill(by));
        for id in [weight, bias] {
            let gradient = gradients.of(id).iter_mut().enumerate();
            gradient.for_each(|(idx, g)| *g = by * (idx as f64 - 1.5));
        }
    }

    fn stepped(optimizer: Optimizer) -> [Vec<f64>; 3] {
        let cpu = Cpu::with_isa(Isa::Plain, 1);
        let (mut parameters, ids) = store();
        for step in 1..=3 {
            backward(&mut parameters, ids, 0.2 * step as f64);
            optimizer.step(&cpu, &mut parameters, step, 0.01, None);
        }
        ids.map(|id| parameters.value(id).to_vec())
    }

    #[test]
    fn muon_moves_matrices_each_alone_and_adamw_the_rest() {
        let others = Moments::default();
        let with = |method| Optimizer { weight_decay: 0.1, ..Optimizer::new(method) };
        let [table, weight, bias] = stepped(with(Method::Muon { momentum: 0.9, others }));
        let expected = stepped(with(Method::AdamW(others)));
        assert_eq!([&table, &bias], [&expected[0], &expected[2]]);
        assert_ne!(weight, expected[1]);
        // Without a first moment the momentum of matrices still has its slab.
        let others = Moments { beta1: 0.0, ..others };
        let muon = with(Method::Muon { momentum: 0.9, others });
        assert_eq!(muon.n_moments(), 1);
        let found = stepped(muon);
        assert_eq!(found[1], weight);
        assert_eq!(found[0], stepped(with(Method::AdamW(others)))[0]);

        let cpu = Cpu::with_isa(Isa::Plain, 1);
        let (mut parameters, ids) = store();
        for step in 1..=3 {
            backward(&mut parameters, ids, 0.2 * step as f64);
            // The first matrix alone.
            let mut gradient = parameters.gradient(ids[1]).unwrap()[..6].to_vec();
            let mut momentum = match step {
                1 => vec![0.0; 6],
                _ => parameters.moments(0, ids[1])[..6].to_vec(),
            };
            let mut value = parameters.value(ids[1])[..6].to_vec();
            let settings = Muon { lr: 0.01, momentum: 0.9, weight_decay: 0.1, scale: 1.0 };
            let slabs = update::Slabs {
                value: &mut value,
                gradient: &mut gradient,
                moments: [&mut momentum, &mut []],
                average: &mut [],
            };
            muon::step(&cpu, settings, [1, 3], slabs, None, &mut muon::Workspace::default());
            muon_step(&cpu, &mut parameters, step);
            assert_eq!(parameters.value(ids[1])[..6], value);
        }
    }

    fn muon_step(cpu: &Cpu, parameters: &mut Parameters<f64>, step: u64) {
        let method = Method::Muon { momentum: 0.9, others: Moments::default() };
        let muon = Optimizer { weight_decay: 0.1, ..Optimizer::new(method) };
        muon.step(cpu, parameters, step, 0.01, None);
    }

    #[test]
    fn weight_decay_spares_vectors_where_that_is_asked_for() {
        let moments = Moments::default();
        for method in [Method::Sgd { momentum: 0.5 }, Method::Adam(moments), Method::AdamW(moments)]
        {
            let all = Optimizer { weight_decay: 0.5, ..Optimizer::new(method) };
            let some = stepped(Optimizer { spares_vectors: true, ..all });
            let (all, none) = (stepped(all), stepped(Optimizer::new(method)));
            assert_eq!(some[..2], all[..2], "{method:?}");
            assert_eq!(some[2], none[2], "{method:?}");
            assert_ne!(some[2], all[2], "{method:?}");
        }
    }

    #[test]
    fn the_average_is_the_mean_of_the_values_even_where_nothing_was_written() {
        let cpu = Cpu::with_isa(Isa::Plain, 1);
        let (mut parameters, ids) = store();
        let mut sums = ids.map(|id| vec![0.0; parameters.value(id).len()]);
        for number in 1..=4 {
            backward(&mut parameters, ids, 0.3);
            // A row that no gradient is written to has an average too.
            if number == 2 {
                parameters.value_mut(ids[0])[0] = 7.0;
            }
            let step =
                Step { number, lr: 0.1, clip: Some(1.0), average: Some(1.0 / number as f64) };
            Optimizer::SGD.make(&cpu, &mut parameters, &step);
            for (sum, id) in sums.iter_mut().zip(ids) {
                sum.iter_mut().zip(parameters.value(id)).for_each(|(sum, x)| *sum += x);
            }
        }
        for (sum, id) in sums.iter().zip(ids) {
            for (sum, mean) in sum.iter().zip(parameters.average(id)) {
                assert!((sum / 4.0 - mean).abs() < 1e-12, "{mean} for {}", sum / 4.0);
            }
        }
    }

    #[test]
    #[should_panic(expected = "a first moment that decays with 0 for AdamW")]
    fn a_first_moment_that_is_kept_is_not_taken_away() {
        let _ = Optimizer::ADAMW.with_beta1(0.0);
    }
}
