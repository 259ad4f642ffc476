//! Causal attention over a window and what streams remember.

use recurra_kernels::attention::{self, Memory, Outcome, Shape};
use recurra_kernels::{Element, pointwise};

use super::Op;
use crate::arena::Arena;
use crate::tape::{Tape, Var, Window};

#[derive(Debug)]
pub(crate) struct Attended<E> {
    qkv: Var,
    attention: attention::Attention,
    shape: Shape,
    /// Keys, values and lengths before the window.
    memory: [Vec<E>; 3],
    /// (B, A, T)
    logs: Vec<E>,
}

impl<E: Element> Tape<'_, E> {
    /// Every position of a window attends to itself and to those before it that it sees, in the window and in memory, with
    /// several heads (Vaswani et al. 2017); the memory is carried on, cut off from its history (Dai et al. 2019).
    ///
    /// # Shapes
    /// `qkv` (T·B, 3·C): queries, keys and values; `memory`: keys (B, context·C), values (B, context·C), lengths (B) →
    /// (T·B, C).
    ///
    /// # Panics
    /// When the shapes do not fit.
    #[track_caller]
    pub fn attention(
        &mut self,
        qkv: Var,
        attention: attention::Attention,
        window: Window,
        mut memory: [&mut [E]; 3],
    ) -> Var {
        let (rows, cols) = self.shape(qkv);
        assert!(rows == window.len() && cols.is_multiple_of(3), "({rows}, {cols}) for {window:?}");
        let shape = Shape { time: window.time, batch: window.batch, width: cols / 3 };
        let is_training = self.is_training();
        let arena = &mut self.workspace.arena;
        let mut out = arena.take(rows * shape.width);
        let (before, mut logs) = if is_training {
            let before = memory.each_ref().map(|part| {
                let mut before = arena.take(part.len());
                pointwise::copy(self.cpu, part, &mut before);
                before
            });
            (before, arena.take(rows * attention.heads))
        } else {
            Default::default()
        };
        let value = self.workspace.nodes[qkv.0].value();
        let [keys, values, lengths] = &memory;
        let all = Memory { keys, values, lengths };
        let kept = is_training.then_some(logs.as_mut_slice());
        attention::forward(self.cpu, attention, shape, value, all, &mut out, kept);
        attention::remember(
            self.cpu,
            attention,
            shape,
            value,
            memory.each_mut().map(|part| &mut **part),
        );
        let needs_gradient = self.needs_gradient(qkv);
        let op = Attended { qkv, attention, shape, memory: before, logs };
        self.push(Op::Attended(op), shape.width, out, 0, needs_gradient)
    }
}

impl<E: Element> Attended<E> {
    pub(crate) fn backward(self, tape: &mut Tape<'_, E>, out: Var) -> Self {
        let d_out = tape.take_gradient(out);
        let mut d_qkv = tape.workspace.arena.take(3 * d_out.len());
        let [keys, values, lengths] = &self.memory;
        let memory = Memory { keys, values, lengths };
        let outcome = Outcome { out: tape.value(out), logs: &self.logs, d_out: &d_out };
        let (cpu, qkv) = (tape.cpu, tape.value(self.qkv));
        attention::backward(cpu, self.attention, self.shape, qkv, memory, outcome, &mut d_qkv);
        tape.add_gradient(self.qkv, d_qkv);
        tape.workspace.arena.give(d_out);
        self
    }

    pub(crate) fn recycle(self, arena: &mut Arena<E>) {
        self.memory.into_iter().for_each(|part| arena.give(part));
        arena.give(self.logs);
    }
}
