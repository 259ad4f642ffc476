//! The gradient tape: a list of fused operations, run forward as they are written and backward in reverse.
//!
//! A node is a whole operation, a recurrent layer over a whole sequence for instance, so a step has a handful of nodes
//! and the tape costs nothing. Every tensor is a matrix: rows are positions (time-major, T·B of them), columns are features.

use std::fmt;

use recurra_kernels::dropout::Mask;
use recurra_kernels::{Cpu, Element, mixed, pointwise};

use crate::arena::Arena;
use crate::gradients::Gradients;
use crate::ops::{Op, cross_entropy};
use crate::packed::{Layers, PackedWeights};
use crate::parameters::{Parameters, Values};

/// Names a value on a [`Tape`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Var(pub(crate) usize);

/// The size of a window of text: T time steps of B streams, rows in the order (t, b).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Time steps T.
    pub time: usize,
    /// Streams B.
    pub batch: usize,
}

impl Window {
    /// How many positions there are: T·B.
    pub fn len(self) -> usize {
        self.time * self.batch
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// What a tape leaves behind for the next one: buffers and packed weights. Use one for each model.
#[derive(Debug)]
pub struct Workspace<E> {
    pub(crate) arena: Arena<E>,
    pub(crate) packed: PackedWeights<E>,
    pub(crate) row_nats: Vec<f64>,
    pub(crate) nodes: Vec<Node<E>>,
}

/// One operation and its result.
#[derive(Debug)]
pub(crate) struct Node<E> {
    pub(crate) op: Op<E>,
    pub(crate) cols: usize,
    /// The result stands at `buffer[start..]`; what is before it the operation keeps for itself.
    pub(crate) buffer: Vec<E>,
    pub(crate) start: usize,
    /// The gradient of the loss with respect to the result, once something has added to it.
    pub(crate) gradient: Option<Vec<E>>,
    pub(crate) needs_gradient: bool,
}

impl<E> Node<E> {
    /// The result.
    pub(crate) fn value(&self) -> &[E] {
        &self.buffer[self.start..]
    }
}

/// A list of operations in the making.
pub struct Tape<'a, E: Element> {
    pub(crate) cpu: &'a Cpu,
    pub(crate) values: &'a Values<E>,
    /// Absent when nothing is to be learned.
    pub(crate) gradients: Option<&'a mut Gradients<E>>,
    pub(crate) layers: Layers<'a>,
    pub(crate) workspace: &'a mut Workspace<E>,
    dropout_key: u64,
    /// How many masks there are so far.
    masks: u64,
    /// Whether it drops anything.
    drops: bool,
    loss_scale: f64,
}

impl<E: Element> Workspace<E> {
    /// An empty workspace.
    pub fn new() -> Self {
        Self {
            arena: Arena::new(),
            packed: PackedWeights::new(),
            row_nats: Vec::new(),
            nodes: Vec::new(),
        }
    }

    fn recycle(&mut self) {
        for node in self.nodes.drain(..) {
            self.arena.give(node.buffer);
            if let Some(gradient) = node.gradient {
                self.arena.give(gradient);
            }
            node.op.recycle(&mut self.arena);
        }
    }
}

impl<E: Element> Default for Workspace<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E: Element> fmt::Debug for Tape<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tape").field("nodes", &self.workspace.nodes.len()).finish_non_exhaustive()
    }
}

impl<'a, E: Element> Tape<'a, E> {
    /// A tape that keeps what a backward pass needs and applies dropout, whose masks `dropout_key` decides.
    pub fn training(
        cpu: &'a Cpu,
        parameters: &'a mut Parameters<E>,
        workspace: &'a mut Workspace<E>,
        dropout_key: u64,
    ) -> Self {
        workspace.recycle();
        let (values, gradients, layers) = parameters.for_training();
        let (gradients, layers) = (Some(gradients), Layers::Training(layers));
        let (drops, loss_scale) = (true, 1.0);
        Self { cpu, values, gradients, layers, workspace, dropout_key, masks: 0, drops, loss_scale }
    }

    /// A tape for looking only: no gradients, no dropout.
    pub fn inference(
        cpu: &'a Cpu,
        parameters: &'a Parameters<E>,
        workspace: &'a mut Workspace<E>,
    ) -> Self {
        workspace.recycle();
        Self {
            cpu,
            values: &parameters.values,
            gradients: None,
            layers: Layers::Inference(&parameters.layers),
            workspace,
            dropout_key: 0,
            masks: 0,
            drops: false,
            loss_scale: 1.0,
        }
    }

    /// The same tape without dropout: the gradient of what the network says when it is used.
    #[must_use]
    pub fn without_dropout(mut self) -> Self {
        self.drops = false;
        self
    }

    /// The same tape with every gradient multiplied by `scale`: 1/n for the mean over n accumulated windows.
    pub fn with_loss_scale(mut self, scale: f64) -> Self {
        self.loss_scale = scale;
        self
    }

    /// Whether this tape learns.
    pub fn is_training(&self) -> bool {
        self.gradients.is_some()
    }

    /// What every gradient is multiplied by.
    pub fn loss_scale(&self) -> f64 {
        self.loss_scale
    }

    /// A matrix with `cols` columns that is given and not learned.
    pub fn constant(&mut self, values: &[E], cols: usize) -> Var {
        let buffer = self.workspace.arena.take_copy(values);
        self.push(Op::Constant, cols, buffer, 0, false)
    }

    /// The values of a variable, row by row.
    pub fn value(&self, var: Var) -> &[E] {
        self.workspace.nodes[var.0].value()
    }

    /// Rows and columns of a variable.
    pub fn shape(&self, var: Var) -> (usize, usize) {
        let cols = self.workspace.nodes[var.0].cols;
        (self.value(var).len() / cols.max(1), cols)
    }

    /// The value of a loss, a mean over rows.
    ///
    /// # Panics
    /// When `loss` is no loss.
    #[track_caller]
    pub fn loss(&self, loss: Var) -> f64 {
        self.workspace.nodes[loss.0].op.loss().expect("a loss")
    }

    /// The gradient of the loss with respect to a variable, after `backward`; `None` where none arrived.
    pub fn gradient(&self, var: Var) -> Option<&[E]> {
        self.workspace.nodes[var.0].gradient.as_deref()
    }

    /// Adds the gradient of `loss` to the gradient of every parameter it depends on.
    ///
    /// # Panics
    /// When the tape is not a training tape, or `loss` is no loss.
    #[track_caller]
    pub fn backward(&mut self, loss: Var) {
        assert!(self.is_training(), "backward on a tape made for inference");
        assert!(
            self.workspace.nodes[loss.0].op.loss().is_some(),
            "backward from a variable that is no loss"
        );
        for idx in (0..=loss.0).rev() {
            if !self.workspace.nodes[idx].needs_gradient {
                continue;
            }
            let op = std::mem::replace(&mut self.workspace.nodes[idx].op, Op::Constant);
            let op = op.backward(self, Var(idx));
            self.workspace.nodes[idx].op = op;
        }
    }

    pub(crate) fn push(
        &mut self,
        op: Op<E>,
        cols: usize,
        buffer: Vec<E>,
        start: usize,
        needs_gradient: bool,
    ) -> Var {
        let needs_gradient = needs_gradient && self.is_training();
        self.workspace.nodes.push(Node { op, cols, buffer, start, gradient: None, needs_gradient });
        Var(self.workspace.nodes.len() - 1)
    }

    pub(crate) fn needs_gradient(&self, var: Var) -> bool {
        self.workspace.nodes[var.0].needs_gradient
    }

    /// Takes the gradient that arrived at `var`, zeros if none did.
    pub(crate) fn take_gradient(&mut self, var: Var) -> Vec<E> {
        let len = self.value(var).len();
        let gradient = self.workspace.nodes[var.0].gradient.take();
        gradient.unwrap_or_else(|| self.workspace.arena.take_zeros(len))
    }

    /// A buffer to add `var`'s gradient into, and whether it already holds a part of it; give it back with
    /// `put_gradient`.
    pub(crate) fn gradient_to_add(&mut self, var: Var) -> (Vec<E>, bool) {
        let len = self.value(var).len();
        match self.workspace.nodes[var.0].gradient.take() {
            Some(gradient) => (gradient, true),
            None => (self.workspace.arena.take(len), false),
        }
    }

    pub(crate) fn put_gradient(&mut self, var: Var, gradient: Vec<E>) {
        self.workspace.nodes[var.0].gradient = Some(gradient);
    }

    /// Adds a finished gradient to what has arrived at `var`.
    pub(crate) fn add_gradient(&mut self, var: Var, gradient: Vec<E>) {
        match &mut self.workspace.nodes[var.0].gradient {
            Some(sum) => {
                pointwise::add_to(self.cpu, &gradient, sum);
                self.workspace.arena.give(gradient);
            }
            empty => *empty = Some(gradient),
        }
    }

    /// The next dropout mask, if this tape drops anything. Its key is a mix of the tape's key and the number of the mask.
    pub(crate) fn next_mask(&mut self, rate: f32) -> Option<Mask> {
        let keep = 1.0 - rate;
        if !self.drops || keep == 1.0 {
            return None;
        }
        self.masks += 1;
        let of_tape = self.dropout_key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let of_mask = self.masks.wrapping_mul(0xd1b5_4a32_d192_ed03);
        Some(Mask { key: mixed(of_tape.wrapping_add(of_mask)), keep })
    }

    /// −ln softmax((W·h_n + b) / T)\[target_n\] of every row at the temperature T: a score, nothing kept.
    ///
    /// # Shapes
    /// `hidden` (N, H), `weight` (V, H), `bias` (V), `targets` (N) → (N).
    pub fn row_nats(
        &mut self,
        hidden: Var,
        weight: crate::ParameterId,
        bias: crate::ParameterId,
        targets: &[u32],
        temperature: f64,
    ) -> &[f64] {
        if temperature == 1.0 {
            return cross_entropy::row_nats(self, hidden, weight, bias, targets);
        }
        cross_entropy::tempered_row_nats(self, hidden, weight, bias, targets, temperature)
    }

    /// The nats of every row of the loss that was computed last.
    pub fn row_nats_of_loss(&self) -> &[f64] {
        &self.workspace.row_nats
    }

    /// The sum of the nats of `targets` when `hidden` is put through the output layer: a score, nothing kept.
    ///
    /// # Shapes
    /// `hidden` (N, H), `weight` (V, H), `bias` (V), `targets` (N).
    pub fn nats(
        &mut self,
        hidden: Var,
        weight: crate::ParameterId,
        bias: crate::ParameterId,
        targets: &[u32],
    ) -> f64 {
        cross_entropy::row_nats(self, hidden, weight, bias, targets).iter().sum()
    }
}
