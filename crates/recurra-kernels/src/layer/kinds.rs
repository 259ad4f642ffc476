//! What a layer is, wherever it runs.

use crate::dropout::Mask;
use crate::rnn::Activation;

/// Which cell a layer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellKind {
    /// Long short-term memory; the memory is c.
    Lstm,
    /// The same with an input gate that lets in no more than 1 − f.
    CoupledLstm,
    /// Gated recurrent unit.
    Gru,
    /// Simple recurrent network.
    Rnn(Activation),
}

impl CellKind {
    /// All of them.
    pub const ALL: [CellKind; 5] = [
        CellKind::Rnn(Activation::Tanh),
        CellKind::Rnn(Activation::Relu),
        CellKind::Lstm,
        CellKind::CoupledLstm,
        CellKind::Gru,
    ];

    /// G, how many times H rows its matrices have.
    pub fn n_gates(self) -> usize {
        match self {
            CellKind::Rnn(_) => 1,
            CellKind::Lstm | CellKind::CoupledLstm => 4,
            CellKind::Gru => 3,
        }
    }

    /// Whether its memory is something else than h.
    pub fn has_memory(self) -> bool {
        matches!(self, CellKind::Lstm | CellKind::CoupledLstm)
    }

    /// How many parts its state has: h, and for an LSTM c.
    pub fn n_parts(self) -> usize {
        if self.has_memory() { 2 } else { 1 }
    }
}

/// The sizes of a recurrent layer and its input over a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerShape {
    /// T, time steps.
    pub time: usize,
    /// B, sequences side by side.
    pub batch: usize,
    /// E, values of an input.
    pub inputs: usize,
    /// H, hidden units.
    pub hidden: usize,
}

/// The inputs of a layer: row n is row n of `values`, or the row `ids[n]` of a table, through dropout.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// (T·B, E), or a table (V, E).
    pub values: &'a [f32],
    /// (T·B): rows of the table.
    pub ids: Option<&'a [u32]>,
    /// Which values are kept, by their position in (T·B, E); the gradients of the input go through it as well.
    pub mask: Option<Mask>,
}

impl<'a> From<&'a [f32]> for Input<'a> {
    fn from(values: &'a [f32]) -> Self {
        Self { values, ids: None, mask: None }
    }
}

/// What a weight is multiplied with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// x·W_ihᵀ and h·W_hhᵀ.
    Forward,
    /// d·W_ih and d·W_hh.
    Backward,
}

/// Where the gradient of x goes.
#[derive(Debug)]
pub enum InputGradient<'a> {
    /// Nobody wants it.
    Nowhere,
    /// (T·B, E): written there.
    To(&'a mut [f32]),
    /// (T·B, E): added to what is there.
    AddedTo(&'a mut [f32]),
    /// Written over that of the outputs, where E = H.
    InPlace,
}

/// Where the gradients of a layer's weights are written.
#[derive(Debug)]
pub struct LayerGradients<'a> {
    /// (G·H, E)
    pub weight_ih: &'a mut [f32],
    /// (G·H, H)
    pub weight_hh: &'a mut [f32],
    /// (G·H): added to.
    pub bias_ih: &'a mut [f32],
    /// (G·H): added to.
    pub bias_hh: &'a mut [f32],
    /// Whether the weights' gradients are added to; otherwise they are overwritten.
    pub adds: bool,
    /// (G·H) each: Σ g² of each row of the gradients of W_ih and W_hh, as they then are.
    pub squares: [&'a mut [f64]; 2],
}
