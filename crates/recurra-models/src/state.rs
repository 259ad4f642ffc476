//! The memory of a recurrent network.

use recurra_layers::CellState;
use recurra_tensor::Element;

/// Everything a network remembers of what it has read, for B streams: a few kilobytes a stream of a recurrent one, the keys and
/// values of the last positions of a Transformer.
#[derive(Clone, Debug, PartialEq)]
pub struct State<E> {
    /// One state a layer, first to last.
    pub layers: Vec<CellState<E>>,
}

impl<E: Element> State<E> {
    /// Every part in order: layer by layer, as the cell names them.
    pub fn parts(&self) -> impl Iterator<Item = &Vec<E>> {
        self.layers.iter().flat_map(|layer| &layer.parts)
    }

    /// Every part in order, to be changed.
    pub fn parts_mut(&mut self) -> impl Iterator<Item = &mut Vec<E>> {
        self.layers.iter_mut().flat_map(|layer| &mut layer.parts)
    }

    /// How many bytes it takes.
    pub fn n_bytes(&self) -> usize {
        self.parts().map(|part| part.len() * size_of::<E>()).sum()
    }

    /// How many parts each layer has.
    pub(crate) fn n_parts(&self) -> impl Iterator<Item = usize> {
        self.layers.iter().map(|layer| layer.parts.len())
    }

    /// Forgets what one of `n_streams` streams remembers.
    ///
    /// # Panics
    /// When there is no such stream.
    #[track_caller]
    pub fn clear_stream(&mut self, stream: usize, n_streams: usize) {
        assert!(stream < n_streams, "stream {stream} of {n_streams}");
        for part in self.parts_mut() {
            let width = part.len() / n_streams;
            part[stream * width..(stream + 1) * width].fill(E::ZERO);
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.parts_mut().for_each(|part| part.fill(E::ZERO));
    }
}
