//! The weights of a network, laid out.

use super::layout::{Packed, Source};
use super::screen::Screen;
use super::{CellKind, Storage};
use crate::{Cpu, Isa};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The weights of a recurrent layer, as training has them.
///
/// # Shapes
/// `weight_ih` (G·H, E), `weight_hh` (G·H, H), biases (G·H), the gates one after the other.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)] // named as in PyTorch
pub struct LayerWeights<'a> {
    pub weight_ih: &'a [f32],
    pub weight_hh: &'a [f32],
    pub bias_ih: &'a [f32],
    pub bias_hh: &'a [f32],
}

/// The weights of the output layer: (V, H of the last layer) and (V).
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)] // named as in PyTorch
pub struct OutputWeights<'a> {
    pub weight: &'a [f32],
    pub bias: &'a [f32],
}

/// The weights of a network, laid out for single steps on one instruction set; any number of [`Stepper`](super::Stepper)s
/// share them.
#[derive(Debug)]
pub struct Weights {
    /// Tells these from all others: a stepper keeps products with them.
    pub(super) id: u64,
    pub(super) isa: Isa,
    pub(super) storage: Storage,
    pub(super) cell: CellKind,
    pub(super) layers: Vec<Layer>,
    /// Of no rows where there is no output layer.
    pub(super) output: Packed,
    /// Bytes of layers and output layer.
    n_bytes: usize,
    /// Whether a likeliest output was found before: only then the next is searched for in another layout, so that the first
    /// token does not wait for that.
    is_searched: AtomicBool,
    screen: OnceLock<Screen>,
}

#[derive(Debug)]
pub(super) struct Layer {
    pub inputs: usize,
    pub hidden: usize,
    pub packed: Packed,
}

impl Weights {
    /// Lays out the layers of a network, first to last, and its output layer, if it has one.
    ///
    /// # Panics
    /// When there is no layer, a size is zero, or sizes do not fit each other.
    #[track_caller]
    pub fn pack(
        cpu: &Cpu,
        storage: Storage,
        cell: CellKind,
        layers: &[LayerWeights<'_>],
        output: Option<OutputWeights<'_>>,
    ) -> Self {
        let mut inputs = None;
        let mut packed = Vec::with_capacity(layers.len());
        for layer in layers {
            let layer = Layer::pack(cpu, storage, cell, layer);
            let above = layer.hidden;
            assert!(
                inputs.replace(above).is_none_or(|below| below == layer.inputs),
                "layer {} has {} inputs; the layer below has another size",
                packed.len(),
                layer.inputs
            );
            packed.push(layer);
        }
        let depth = inputs.expect("a network has a layer");
        let output = output.unwrap_or(OutputWeights { weight: &[], bias: &[] });
        let OutputWeights { weight, bias } = output;
        assert!(
            weight.len() == bias.len() * depth,
            "output weights of {} values for {} outputs of {depth} inputs",
            weight.len(),
            bias.len()
        );
        let source = Source { weight, bias, depth };
        let output = Packed::new(cpu, storage, 1, bias.len(), &[source]);
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let id = COUNT.fetch_add(1, Ordering::Relaxed);
        let n_bytes =
            packed.iter().map(|layer| &layer.packed).chain([&output]).map(Packed::n_bytes);
        Self {
            id,
            isa: cpu.isa(),
            storage,
            cell,
            n_bytes: n_bytes.sum(),
            layers: packed,
            output,
            is_searched: AtomicBool::new(false),
            screen: OnceLock::new(),
        }
    }

    /// How the likeliest outputs of so many streams are found without computing all of them, where that pays; laid out at the
    /// second call.
    pub(super) fn screen(&self, cpu: &Cpu, n_streams: usize) -> Option<&Screen> {
        let is_searched = self.is_searched.swap(true, Ordering::Relaxed);
        (is_searched && Screen::pays(self.isa, &self.output, n_streams))
            .then(|| self.screen.get_or_init(|| Screen::new(cpu, &self.output)))
    }

    /// How weights are stored.
    pub fn storage(&self) -> Storage {
        self.storage
    }

    /// Bytes that a step reads, where it needs all outputs.
    pub fn n_bytes(&self) -> usize {
        self.n_bytes
    }

    /// E, values of an input.
    pub fn inputs(&self) -> usize {
        self.layers[0].inputs
    }

    /// V, outputs.
    pub fn outputs(&self) -> usize {
        self.output.units
    }
}

impl Layer {
    #[track_caller]
    fn pack(cpu: &Cpu, storage: Storage, cell: CellKind, weights: &LayerWeights<'_>) -> Self {
        let LayerWeights { weight_ih, weight_hh, bias_ih, bias_hh } = *weights;
        let n_gates = cell.n_gates();
        let rows = bias_ih.len();
        let hidden = rows / n_gates;
        let inputs = weight_ih.len() / rows.max(1);
        assert!(hidden > 0 && inputs > 0, "a layer of {hidden} units with {inputs} inputs");
        assert!(
            rows == n_gates * hidden
                && bias_hh.len() == rows
                && weight_hh.len() == rows * hidden
                && weight_ih.len() == rows * inputs,
            "W_ih of {} values, W_hh of {}, biases of {rows} and {}; {n_gates} gates",
            weight_ih.len(),
            weight_hh.len(),
            bias_hh.len()
        );
        // The last gate of a GRU multiplies h's product, with its bias, before it is added.
        let joint = if cell == CellKind::Gru { 2 * hidden } else { rows };
        let mut bias_x = bias_ih.to_vec();
        let mut bias_h = bias_hh.to_vec();
        for (x, h) in bias_x.iter_mut().zip(&mut bias_h[..joint]) {
            *x += *h;
            *h = 0.0;
        }
        let sources = [
            Source { weight: weight_ih, bias: &bias_x, depth: inputs },
            Source { weight: weight_hh, bias: &bias_h, depth: hidden },
        ];
        let packed = Packed::new(cpu, storage, n_gates, hidden, &sources);
        Self { inputs, hidden, packed }
    }
}
