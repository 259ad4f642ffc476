//! The angles of rotary positions (Su et al. 2021): value f of the first half of a head and value f of the second are a
//! plane, turned by n·10000^(−2f/D) at place n, in the order of LLaMA (Touvron et al. 2023).

use super::{Attention, Positions};
use std::sync::{Arc, Mutex, PoisonError};

/// How much slower the last plane turns than the first, nearly.
pub(super) const BASE: f64 = 10_000.0;

/// Cosines and sines of a place.
#[derive(Clone, Copy)]
pub(super) struct Angle<'a, E> {
    /// (D / 2), or none where nothing is turned.
    pub cos: &'a [E],
    /// (D / 2)
    pub sin: &'a [E],
    /// Whether it is turned back.
    pub is_back: bool,
}

/// The angles of all places of two rounds.
#[derive(Clone)]
pub(super) struct Rotation {
    table: Option<Arc<Table>>,
}

/// Cosines and sines, D / 2 of each for a place.
struct Table {
    places: usize,
    size: usize,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

/// Tables that have been made: one for each kind of head that is in use.
static TABLES: Mutex<Vec<Arc<Table>>> = Mutex::new(Vec::new());
/// More tables than a process uses at once.
const MOST_TABLES: usize = 8;

/// The angle of plane `f` at `place`.
pub(super) fn angle(place: usize, f: usize, size: usize) -> f64 {
    place as f64 * BASE.powf(-2.0 * f as f64 / size as f64)
}

impl Rotation {
    /// The angles of heads of `size` values.
    pub fn of(attention: Attention, size: usize) -> Self {
        if attention.positions == Positions::Learned {
            return Self { table: None };
        }
        let places = 2 * attention.context;
        let mut tables = TABLES.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |table: &&Arc<Table>| table.places == places && table.size == size;
        if let Some(table) = tables.iter().find(fits) {
            return Self { table: Some(table.clone()) };
        }
        let angles = || (0..places).flat_map(|n| (0..size / 2).map(move |f| angle(n, f, size)));
        let cos = angles().map(|angle| angle.cos() as f32).collect();
        let sin = angles().map(|angle| angle.sin() as f32).collect();
        let table = Arc::new(Table { places, size, cos, sin });
        if tables.len() == MOST_TABLES {
            tables.remove(0);
        }
        tables.push(table.clone());
        Self { table: Some(table) }
    }

    /// The angle at a place below 2·`context`.
    pub fn by(&self, place: usize) -> Angle<'_, f32> {
        match &self.table {
            None => Angle { cos: &[], sin: &[], is_back: false },
            Some(table) => {
                let half = table.size / 2;
                let row = place * half..(place + 1) * half;
                Angle { cos: &table.cos[row.clone()], sin: &table.sin[row], is_back: false }
            }
        }
    }
}

impl<E> Angle<'_, E> {
    /// The same the other way round.
    pub fn back(self) -> Self {
        Self { is_back: !self.is_back, ..self }
    }
}
