//! Weights in the kernels' own layout, made again only when the weights have changed.

use std::collections::{BTreeMap, HashMap};

use recurra_kernels::dropout::{self, Mask};
use recurra_kernels::layer::{CellKind, Direction, PackedLayer};
use recurra_kernels::matmul::{Matrix, PackedMatrix};
use recurra_kernels::recurrent::RecurrentWeight;
use recurra_kernels::slstm::HeadWeights;
use recurra_kernels::{Cpu, Element};

use crate::ops::sweep::RecurrentWeights;
use crate::parameters::{ParameterId, Values};

/// Packed copies of weights, each with the version of the weights it was made from.
#[derive(Debug)]
pub(crate) struct PackedWeights<E> {
    /// Each weight transposed (for x·Wᵀ) or as it is (for d·W).
    matrices: HashMap<(ParameterId, bool), (u64, PackedMatrix<E>)>,
    recurrent: HashMap<ParameterId, (Version, RecurrentWeight<E>)>,
    /// A recurrent weight with some of it dropped, while it is packed.
    dropped: Vec<E>,
    heads: HashMap<ParameterId, (u64, HeadWeights<E>)>,
    /// Those of a tape for inference, where the copies beside the parameters are stale or none.
    pub(crate) layers: PackedLayers,
}

impl<E: Element> PackedWeights<E> {
    pub(crate) fn new() -> Self {
        let layers = PackedLayers::default();
        Self {
            matrices: HashMap::new(),
            recurrent: HashMap::new(),
            dropped: Vec::new(),
            heads: HashMap::new(),
            layers,
        }
    }

    /// `weight` (out, in) packed as the right side of a product: transposed for x·Wᵀ, or as it is for d·W.
    pub(crate) fn matrix(
        &mut self,
        cpu: &Cpu,
        values: &Values<E>,
        weight: ParameterId,
        is_transposed: bool,
    ) -> &PackedMatrix<E> {
        let (rows, cols) = values.matrix_shape(weight);
        let matrix = Matrix::new(values.of(weight), rows, cols);
        let matrix = if is_transposed { matrix.transposed() } else { matrix };
        let version = values.version();
        let (packed_from, packed) = self
            .matrices
            .entry((weight, is_transposed))
            .or_insert_with(|| (version, PackedMatrix::pack(cpu, matrix)));
        if *packed_from != version {
            packed.repack(cpu, matrix);
            *packed_from = version;
        }
        packed
    }

    /// R (A, 4·D, D) of an sLSTM packed for its sweeps.
    pub(crate) fn heads(
        &mut self,
        cpu: &Cpu,
        values: &Values<E>,
        recurrent: ParameterId,
    ) -> &HeadWeights<E> {
        let (weight, version) = (values.of(recurrent), values.version());
        let units = values.shape(recurrent)[2];
        let (packed_from, packed) = self
            .heads
            .entry(recurrent)
            .or_insert_with(|| (version, HeadWeights::pack(cpu, weight, units)));
        if *packed_from != version {
            packed.repack(cpu, weight);
            *packed_from = version;
        }
        packed
    }

    /// `weight_hh` (G·H, H), without what `mask` drops, packed by units for a recurrent sweep.
    pub(crate) fn recurrent(
        &mut self,
        cpu: &Cpu,
        values: &Values<E>,
        weight_hh: ParameterId,
        mask: Option<Mask>,
    ) -> &RecurrentWeight<E> {
        let (rows, hidden) = values.matrix_shape(weight_hh);
        let version = Version::of(values, mask);
        let packed = self.recurrent.get(&weight_hh);
        if packed.is_none_or(|(packed_from, _)| *packed_from != version) {
            let weight = without_dropped(cpu, values.of(weight_hh), mask, &mut self.dropped);
            let pack = || (version, RecurrentWeight::pack(cpu, weight, hidden, rows / hidden));
            let (packed_from, packed) = self.recurrent.entry(weight_hh).or_insert_with(pack);
            if *packed_from != version {
                packed.repack(cpu, weight);
                *packed_from = version;
            }
        }
        &self.recurrent[&weight_hh].1
    }
}

/// What a packed copy was made from.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Version {
    weights: u64,
    /// What was dropped from the recurrent weight.
    mask: Option<Mask>,
}

impl Version {
    fn of<E: Element>(values: &Values<E>, mask: Option<Mask>) -> Self {
        Self { weights: values.version(), mask }
    }
}

/// The weight as it is, or a copy in `room` without what the mask drops.
fn without_dropped<'a, E: Element>(
    cpu: &Cpu,
    weight: &'a [E],
    mask: Option<Mask>,
    room: &'a mut Vec<E>,
) -> &'a [E] {
    let Some(mask) = mask else { return weight };
    room.resize(weight.len(), E::ZERO);
    dropout::apply_to(cpu, mask, 0, weight, room);
    room
}

/// The weights of recurrent layers as tiles, which are `f32` wherever there are tiles.
///
/// Those of [`Parameters`](crate::Parameters) are written by the optimizer in the pass that changes the weights; whatever else
/// changes them leaves the copies stale, and they are laid out before they are used.
#[derive(Debug, Default)]
pub(crate) struct PackedLayers {
    /// By W_ih and W_hh.
    layers: BTreeMap<[ParameterId; 2], Copies>,
    /// A recurrent weight with some of it dropped, while it is laid out.
    dropped: Vec<f32>,
}

/// A layer as a tape wants it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub cell: CellKind,
    pub direction: Direction,
    pub weights: &'a RecurrentWeights,
    /// What is dropped of W_hh.
    pub mask: Option<Mask>,
}

/// One layer, for each direction that was asked for.
#[derive(Debug)]
struct Copies {
    /// The weights they were made from.
    version: Version,
    directions: [Option<PackedLayer>; 2],
}

impl PackedLayers {
    /// The layer as it is now, laid out if need be.
    pub(crate) fn laid_out<E: Element>(
        &mut self,
        cpu: &Cpu,
        values: &Values<E>,
        Wanted { cell, direction, weights, mask }: Wanted<'_>,
    ) -> &PackedLayer {
        let (_, hidden) = values.matrix_shape(weights.weight_hh);
        let ids = [weights.weight_ih, weights.weight_hh];
        let [weight_ih, weight_hh] = ids.map(|weight| E::as_f32(values.of(weight)).expect("`f32`"));
        let version = Version::of(values, mask);
        let copies =
            self.layers.entry(ids).or_insert_with(|| Copies { version, directions: [None, None] });
        let is_stale = copies.version != version;
        if is_stale || copies.directions[direction as usize].is_none() {
            let weight_hh = without_dropped(cpu, weight_hh, mask, &mut self.dropped);
            if is_stale {
                // Whoever went back before will do so again: both directions while the weights are being read.
                PackedLayer::repack_all(&mut copies.present(), cpu, weight_ih, weight_hh);
                copies.version = version;
            }
            copies.directions[direction as usize].get_or_insert_with(|| {
                PackedLayer::pack(cpu, cell, direction, weight_ih, weight_hh, hidden)
            });
        }
        copies.directions[direction as usize].as_ref().expect("laid out above")
    }

    /// The layer, if it is laid out as it is now.
    pub(crate) fn fresh(
        &self,
        version: u64,
        direction: Direction,
        weights: &RecurrentWeights,
    ) -> Option<&PackedLayer> {
        let copies = self.layers.get(&[weights.weight_ih, weights.weight_hh])?;
        let version = Version { weights: version, mask: None };
        copies.directions[direction as usize].as_ref().filter(|_| copies.version == version)
    }

    /// Has the copies of each layer written, where `write` does so: given W_ih, W_hh and the copies, it says whether it has made
    /// them of this version. Where weights are dropped, each window has copies of its own, which nobody makes ahead.
    pub(crate) fn write(
        &mut self,
        version: u64,
        mut write: impl FnMut([ParameterId; 2], &mut [&mut PackedLayer]) -> bool,
    ) {
        let of_all_weights = self.layers.iter_mut().filter(|(_, it)| it.version.mask.is_none());
        for (&ids, copies) in of_all_weights {
            if write(ids, &mut copies.present()) {
                copies.version.weights = version;
            }
        }
    }
}

impl Copies {
    fn present(&mut self) -> Vec<&mut PackedLayer> {
        self.directions.iter_mut().flatten().collect()
    }
}

/// A store and its copy part ways: who uses the copy lays out its own.
impl Clone for PackedLayers {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// Where a tape finds its layers laid out.
#[derive(Debug)]
pub(crate) enum Layers<'a> {
    /// Beside the parameters, where the optimizer will write them.
    Training(&'a mut PackedLayers),
    /// There too, as long as they are of the present weights; else in its workspace.
    Inference(&'a PackedLayers),
}

impl Layers<'_> {
    /// The layer as it is now.
    pub(crate) fn laid_out<'s, E: Element>(
        &'s mut self,
        workspace: &'s mut PackedLayers,
        cpu: &Cpu,
        values: &Values<E>,
        wanted: Wanted<'_>,
    ) -> &'s PackedLayer {
        match self {
            Layers::Training(layers) => layers.laid_out(cpu, values, wanted),
            Layers::Inference(layers) => layers
                .fresh(values.version(), wanted.direction, wanted.weights)
                .unwrap_or_else(|| workspace.laid_out(cpu, values, wanted)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LstmForm, Method, Optimizer, Parameters, Step, Tape, Window, Workspace};
    use recurra_kernels::{Isa, Precision};

    const WINDOW: Window = Window { time: 3, batch: 2 };
    const INPUTS: usize = 33;
    const HIDDEN: usize = 17;

    /// Two layers that share W_hh.
    struct Network {
        parameters: Parameters<f32>,
        workspace: Workspace<f32>,
        layers: [RecurrentWeights; 2],
    }

    impl Network {
        fn new() -> Self {
            let mut parameters = Parameters::new();
            let mut declare = |name: &str, shape: &[usize]| {
                let id = parameters.declare(name, shape);
                let hash = |idx: usize| (idx as u32 + 7).wrapping_mul(2_654_435_761) >> 8;
                let values = parameters.value_mut(id).iter_mut().enumerate();
                values.for_each(|(idx, x)| *x = hash(idx) as f32 / 4e7 - 0.2);
                id
            };
            let weight_hh = declare("hh", &[4 * HIDDEN, HIDDEN]);
            let [bias_ih, bias_hh] = ["b_ih", "b_hh"].map(|name| declare(name, &[4 * HIDDEN]));
            let layers = [("first", INPUTS), ("second", HIDDEN)].map(|(name, inputs)| {
                let weight_ih = declare(name, &[4 * HIDDEN, inputs]);
                RecurrentWeights { weight_ih, weight_hh, bias_ih, bias_hh, dropout: 0.0 }
            });
            Self { parameters, workspace: Workspace::new(), layers }
        }

        /// A forward and a backward pass; the bits of the loss.
        fn backward(&mut self, cpu: &Cpu) -> u64 {
            let Self { parameters, workspace, layers } = self;
            let mut tape = Tape::training(cpu, parameters, workspace, 0);
            let x: Vec<f32> =
                (0..WINDOW.len() * INPUTS).map(|idx| (idx % 7) as f32 - 3.0).collect();
            let mut out = tape.constant(&x, INPUTS);
            for weights in *layers {
                let [mut h, mut c] = [(); 2].map(|()| vec![0.0; WINDOW.batch * HIDDEN]);
                out = tape.lstm(out, weights, LstmForm::default(), WINDOW, [&mut h, &mut c]);
            }
            let loss = tape.squared_error(out, &vec![0.1; WINDOW.len() * HIDDEN]);
            tape.backward(loss);
            tape.loss(loss).to_bits()
        }

        fn are_fresh(&self) -> [bool; 2] {
            let version = self.parameters.values.version();
            let fresh = |weights, direction| {
                self.parameters.layers.fresh(version, direction, weights).is_some()
            };
            self.layers.each_ref().map(|weights| {
                fresh(weights, Direction::Forward) && fresh(weights, Direction::Backward)
            })
        }

        /// Of the values, and of their average where there is one.
        fn bits(&self) -> Vec<u32> {
            let parameters = &self.parameters;
            let values = parameters.ids().flat_map(|id| parameters.value(id));
            let averaged = parameters.ids().filter(|_| parameters.has_average());
            let averages = averaged.flat_map(|id| parameters.average(id));
            values.chain(averages).map(|x| x.to_bits()).collect()
        }
    }

    #[test]
    fn copies_that_the_optimizer_writes_are_those_that_would_be_laid_out() {
        let momentum =
            Optimizer { weight_decay: 0.01, ..Optimizer::new(Method::Sgd { momentum: 0.9 }) };
        for isa in Isa::available() {
            for (optimizer, average) in
                [(Optimizer::SGD, None), (momentum, Some(0.5)), (Optimizer::ADAMW, None)]
            {
                let cpu = Cpu::with_isa(isa, 2);
                let (mut written, mut forgetful) = (Network::new(), Network::new());
                for step in 1..=6 {
                    let what = format!("{isa}, {optimizer:?}, step {step}");
                    // Copies of nothing have to be laid out.
                    forgetful.parameters = forgetful.parameters.clone();
                    assert_eq!(written.backward(&cpu), forgetful.backward(&cpu), "{what}");
                    for network in [&mut written, &mut forgetful] {
                        let step = Step { number: step, lr: 0.1, clip: Some(0.05), average };
                        optimizer.make(&cpu, &mut network.parameters, &step);
                    }
                    for network in [&mut written, &mut forgetful] {
                        if step == 3 {
                            let id = network.layers[1].weight_ih;
                            network.parameters.value_mut(id)[5] += 0.5;
                            assert_eq!(network.are_fresh(), [false; 2], "{what}");
                        }
                    }
                    assert_eq!(written.bits(), forgetful.bits(), "{what}");
                }
                // W_hh is changed once, with the copies of one layer; those of the other are laid out when they are used.
                let expected = [isa.precision() == Precision::Bf16, false];
                let fresh = written.are_fresh();
                assert!(fresh == expected || fresh == [expected[1], expected[0]], "{fresh:?}");
            }
        }
    }

    #[test]
    fn a_norm_that_is_no_number_changes_nothing_and_leaves_copies_fresh() {
        for isa in Isa::available() {
            let cpu = Cpu::with_isa(isa, 1);
            let mut network = Network::new();
            network.backward(&cpu);
            let fresh = network.are_fresh();
            assert_eq!(fresh, [isa.precision() == Precision::Bf16; 2]);
            let before = network.bits();
            let weight_ih = network.layers[0].weight_ih;
            network.parameters.gradients.of(weight_ih)[3] = f32::NAN;
            let norm = Optimizer::ADAMW.step(&cpu, &mut network.parameters, 1, 0.1, Some(0.05));
            assert!(norm.is_nan());
            assert_eq!((network.bits(), network.are_fresh()), (before, fresh), "{isa}");
        }
    }

    #[test]
    fn inference_reads_the_copies_of_training_while_they_are_of_the_present_weights() {
        let Some(isa) = Isa::best(Some(Precision::Bf16)) else { return };
        let cpu = Cpu::with_isa(isa, 1);
        let mut network = Network::new();
        network.backward(&cpu);
        let score = |network: &Network, workspace: &mut Workspace<f32>| {
            let mut tape = Tape::inference(&cpu, &network.parameters, workspace);
            let x = tape.constant(&[0.5; 6 * INPUTS], INPUTS);
            let [mut h, mut c] = [(); 2].map(|()| vec![0.0; WINDOW.batch * HIDDEN]);
            let out =
                tape.lstm(x, network.layers[0], LstmForm::default(), WINDOW, [&mut h, &mut c]);
            tape.value(out).iter().map(|x| x.to_bits()).collect::<Vec<_>>()
        };
        let mut workspace = Workspace::new();
        let read = score(&network, &mut workspace);
        assert!(workspace.packed.layers.layers.is_empty(), "nothing is laid out twice");
        network.parameters = network.parameters.clone();
        assert_eq!(score(&network, &mut workspace), read);
        assert_eq!(workspace.packed.layers.layers.len(), 1);
    }
}
