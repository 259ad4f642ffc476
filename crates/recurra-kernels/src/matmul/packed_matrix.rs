//! A right operand laid out once and used many times.

use super::buffer::Buffer;
use super::{Matrix, blocks, kernels_of};
use crate::{Cpu, Element, Isa};

/// The right operand of [`matmul_packed`](super::matmul_packed), laid out in panels for one instruction set.
///
/// Panels of `width` columns follow each other, each with its columns side by side for every k. For `f64` there is one
/// panel of all columns.
#[derive(Debug)]
pub struct PackedMatrix<E> {
    rows: usize,
    cols: usize,
    isa: Isa,
    panels: Buffer<E>,
}

impl<E: Element> PackedMatrix<E> {
    /// Lays out `b`.
    pub fn pack(cpu: &Cpu, b: Matrix<E>) -> Self {
        let mut packed = Self { rows: 0, cols: 0, isa: cpu.isa(), panels: Buffer::new() };
        packed.repack(cpu, b);
        packed
    }

    /// Lays out `b` in the place of what was there, without new memory when it is no larger.
    pub fn repack(&mut self, cpu: &Cpu, b: Matrix<E>) {
        (self.rows, self.cols, self.isa) = (b.rows(), b.cols(), cpu.isa());
        let len = self.len();
        let panels = self.panels.take(len);
        if let (Some(values), Some(panels)) = (E::as_f32(b.values()), E::as_f32_mut(panels)) {
            return blocks::pack_all(cpu, kernels_of(cpu.isa()), b.with_values(values), panels);
        }
        for (idx, value) in panels.iter_mut().enumerate() {
            *value = b.at(idx / b.cols(), idx % b.cols());
        }
    }

    /// How many rows the matrix has.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How many columns the matrix has.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The instruction set it was laid out for.
    pub(super) fn isa(&self) -> Isa {
        self.isa
    }

    /// The panels.
    pub(super) fn panels(&self) -> &[E] {
        self.panels.first(self.len())
    }

    fn len(&self) -> usize {
        match E::as_f32(&[]) {
            Some(_) => kernels_of(self.isa).all_panels(self.rows, self.cols),
            None => self.rows * self.cols,
        }
    }
}
