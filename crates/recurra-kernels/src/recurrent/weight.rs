//! The recurrent weight W_hh, packed for the sweeps.

use super::Shape;
use super::panels::{Panels, Side};
use crate::{Cpu, Element, Isa};

/// W_hh (G·H, H) packed by blocks of hidden units for the forward sweep, and transposed for the backward one.
///
/// `f32` is packed in panels for the instruction set of the `Cpu` it was packed on; `f64` is a plain copy.
#[derive(Clone, Debug)]
pub struct RecurrentWeight<E> {
    hidden: usize,
    n_gates: usize,
    isa: Isa,
    /// The matrix as it is, for the reference; empty for `f32`.
    plain: Vec<E>,
    forward: Option<Panels>,
    backward: Option<Panels>,
}

impl<E: Element> RecurrentWeight<E> {
    /// Packs `weight_hh` for both directions.
    ///
    /// # Shapes
    /// `weight_hh` (G·H, H), the gates one after the other as in PyTorch's `weight_hh_l0`.
    ///
    /// # Panics
    /// When the sizes disagree or are zero.
    #[track_caller]
    pub fn pack(cpu: &Cpu, weight_hh: &[E], hidden: usize, n_gates: usize) -> Self {
        assert!(hidden > 0 && n_gates > 0, "H = {hidden}, G = {n_gates}; both must be at least 1");
        let isa = cpu.isa();
        let lanes = super::sweep::lanes(isa);
        let is_f32 = E::as_f32(weight_hh).is_some();
        let panels = |side| is_f32.then(|| Panels::new(side, lanes, n_gates, hidden));
        let (forward, backward) = (panels(Side::Forward), panels(Side::Backward));
        let mut this = Self { hidden, n_gates, isa, plain: Vec::new(), forward, backward };
        this.repack(cpu, weight_hh);
        this
    }

    /// Packs another weight of the same shape into the same memory: after each step of the optimizer.
    ///
    /// # Panics
    /// When `weight_hh` is not (G·H, H), or `cpu` has another instruction set than the one it was packed for.
    #[track_caller]
    pub fn repack(&mut self, cpu: &Cpu, weight_hh: &[E]) {
        let (hidden, n_gates) = (self.hidden, self.n_gates);
        assert!(
            weight_hh.len() == n_gates * hidden * hidden,
            "`weight_hh` holds {} values; ({n_gates}·{hidden}, {hidden}) expected",
            weight_hh.len()
        );
        self.check_isa(cpu);
        match E::as_f32(weight_hh) {
            Some(weight) => {
                if let Some(panels) = &mut self.forward {
                    panels.fill(cpu.pool(), Side::Forward, weight);
                }
                if let Some(panels) = &mut self.backward {
                    panels.fill(cpu.pool(), Side::Backward, weight);
                }
            }
            None => {
                self.plain.clear();
                self.plain.extend_from_slice(weight_hh);
            }
        }
    }

    /// The matrix as it is (`f64` only).
    pub(crate) fn plain(&self) -> &[E] {
        &self.plain
    }

    /// The panels of the forward sweep (`f32` only).
    pub(crate) fn forward_panels(&self) -> &Panels {
        self.forward.as_ref().expect("`f32` is always packed for the forward sweep")
    }

    /// The panels of the backward sweep (`f32` only).
    pub(crate) fn backward_panels(&self) -> &Panels {
        self.backward.as_ref().expect("`f32` is always packed for the backward sweep")
    }

    /// Panics unless it was packed for `n_gates` gates of this shape on this instruction set, and there is a step to do.
    #[track_caller]
    pub(crate) fn check(&self, cpu: &Cpu, shape: Shape, n_gates: usize) {
        let Shape { time, batch, hidden } = shape;
        assert!(time > 0 && batch > 0, "T = {time}, B = {batch}; both must be at least 1");
        assert!(
            (self.hidden, self.n_gates) == (hidden, n_gates),
            "the weight has H = {}, G = {}; H = {hidden}, G = {n_gates} expected",
            self.hidden,
            self.n_gates
        );
        self.check_isa(cpu);
    }

    #[track_caller]
    fn check_isa(&self, cpu: &Cpu) {
        assert!(
            self.isa == cpu.isa(),
            "the weight was packed for `{}` and is used on `{}`",
            self.isa,
            cpu.isa()
        );
    }
}
