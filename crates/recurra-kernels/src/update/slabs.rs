//! A step of an optimizer over slabs that lie side by side, by a team.

use super::average::average_of_block;
use super::{BLOCK, Pass, Rule};
use crate::{Cpu, Element, Isa, SharedSlice};
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
use std::ops::Range;

/// A line of a cache.
#[cfg(target_arch = "x86_64")]
const LINE_BYTES: usize = 64;

/// What an optimizer reads and writes of some parameters, all of one length.
#[derive(Debug)]
pub struct Slabs<'a, E> {
    /// x, which follows the gradient.
    pub value: &'a mut [E],
    /// g, which is zero afterwards.
    pub gradient: &'a mut [E],
    /// u of [`Sgd`](super::Sgd), m and v of [`Adam`](super::Adam), or r and x₀ of [`Dynamic`](super::Dynamic); what the rule
    /// does not keep is empty.
    pub moments: [&'a mut [E]; 2],
    /// θ̄, the average of x; empty where none is kept.
    pub average: &'a mut [E],
}

/// One step of a rule and of the average behind it, in one pass; then the gradient is zero.
///
/// # Panics
/// When lengths differ, or steps of Adam are not counted from 1.
#[track_caller]
pub fn step<E: Element>(cpu: &Cpu, pass: impl Into<Pass>, slabs: Slabs<'_, E>) {
    let update = Update::new(cpu, pass, slabs);
    cpu.pool().for_each_block(update.len(), BLOCK, |range| {
        // SAFETY: every task has values of its own.
        unsafe { update.make(range) };
    });
}

impl<'a, E: Element> Slabs<'a, E> {
    /// The same with so many moments: what a rule keeps, where others of the store keep more.
    #[must_use]
    pub fn with_moments(self, n: usize) -> Self {
        let [first, second] = self.moments;
        let kept = |is_kept: bool, moments: &'a mut [E]| if is_kept { moments } else { &mut [] };
        Self { moments: [kept(n > 0, first), kept(n > 1, second)], ..self }
    }

    /// Some parts of them.
    ///
    /// # Panics
    /// When ranges overlap or leave the slabs.
    #[track_caller]
    pub fn parts<const N: usize>(&mut self, ranges: [Range<usize>; N]) -> [Slabs<'_, E>; N] {
        let mut value = parts_of(self.value, &ranges).into_iter();
        let mut gradient = parts_of(self.gradient, &ranges).into_iter();
        let mut moments =
            self.moments.each_mut().map(|moments| parts_of(moments, &ranges).into_iter());
        let mut average = parts_of(self.average, &ranges).into_iter();
        std::array::from_fn(|_| Slabs {
            average: average.next().expect("a part for each range"),
            value: value.next().expect("a part for each range"),
            gradient: gradient.next().expect("a part for each range"),
            moments: moments.each_mut().map(|of| of.next().expect("a part for each range")),
        })
    }

    /// The slabs themselves when their type is `f32`.
    pub fn as_f32(&mut self) -> Option<Slabs<'_, f32>> {
        let [first, second] = self.moments.each_mut().map(|moments| E::as_f32_mut(moments));
        Some(Slabs {
            value: E::as_f32_mut(self.value)?,
            gradient: E::as_f32_mut(self.gradient)?,
            moments: [first?, second?],
            average: E::as_f32_mut(self.average)?,
        })
    }
}

/// Parts of a slab; of an empty one they are empty.
#[track_caller]
fn parts_of<'a, E, const N: usize>(
    slab: &'a mut [E],
    ranges: &[Range<usize>; N],
) -> [&'a mut [E]; N] {
    if slab.is_empty() {
        return [(); N].map(|()| Default::default());
    }
    slab.get_disjoint_mut(ranges.clone()).expect("parts of a slab apart from each other")
}

/// A step that is made range by range.
#[derive(Debug)]
pub(crate) struct Update<'a, E> {
    isa: Isa,
    pass: Pass,
    value: SharedSlice<'a, E>,
    gradient: SharedSlice<'a, E>,
    moments: [SharedSlice<'a, E>; 2],
    average: SharedSlice<'a, E>,
}

impl<'a, E: Element> Update<'a, E> {
    /// Nothing is changed yet.
    ///
    /// # Panics
    /// As [`step`].
    #[track_caller]
    pub fn new(cpu: &Cpu, pass: impl Into<Pass>, slabs: Slabs<'a, E>) -> Self {
        let pass @ Pass { rule, average: weight } = pass.into();
        let Slabs { value, gradient, moments, average } = slabs;
        let len = value.len();
        assert_eq!(gradient.len(), len, "lengths of gradient and value");
        for (idx, moments) in moments.iter().enumerate() {
            let kept = if idx < rule.n_moments() { len } else { 0 };
            assert_eq!(moments.len(), kept, "moment {idx} that {rule:?} keeps of {len} values");
        }
        let kept = if weight.is_some() { len } else { 0 };
        assert_eq!(average.len(), kept, "the average of {len} values with the weight {weight:?}");
        assert!(
            !matches!(rule, Rule::Adam(adam) if adam.step == 0),
            "steps of Adam are counted from 1"
        );
        let [value, gradient, average] = [value, gradient, average].map(SharedSlice::new);
        let moments = moments.map(SharedSlice::new);
        Self { isa: cpu.isa(), pass, value, gradient, moments, average }
    }

    /// How many values it is made for.
    pub fn len(&self) -> usize {
        self.value.len()
    }

    /// The address of a value.
    #[cfg(target_arch = "x86_64")]
    pub fn value(&self, idx: usize) -> *const E {
        self.value.ptr(idx)
    }

    /// Asks for everything of `range`, so that it is in the second cache when its turn comes.
    #[cfg(target_arch = "x86_64")]
    pub fn fetch(&self, range: Range<usize>) {
        let moments = &self.moments[..self.pass.rule.n_moments()];
        let average = self.pass.average.map(|_| &self.average);
        for slab in [&self.value, &self.gradient].into_iter().chain(moments).chain(average) {
            for idx in range.clone().step_by(LINE_BYTES / size_of::<E>()) {
                // SAFETY: SSE, which every x86-64 has; a hint reads nothing.
                unsafe { _mm_prefetch::<_MM_HINT_T1>(slab.ptr(idx).cast()) };
            }
        }
    }

    /// Makes it for the values of `range`.
    ///
    /// # Safety
    /// Nobody else reads or writes them meanwhile.
    pub unsafe fn make(&self, range: Range<usize>) {
        // SAFETY: by this function's contract.
        let (value, gradient) =
            unsafe { (self.value.slice(range.clone()), self.gradient.slice(range.clone())) };
        let [first, second] = &self.moments;
        match self.pass.rule {
            Rule::Sgd(sgd) => {
                // SAFETY: as above.
                let momentum = (sgd.momentum != 0.0).then(|| unsafe { first.slice(range.clone()) });
                super::sgd(self.isa, sgd, value, gradient, momentum);
            }
            Rule::Adam(adam) => {
                let (m, v) = if adam.beta1 == 0.0 { (None, first) } else { (Some(first), second) };
                // SAFETY: as above.
                let (m, v) = unsafe { (m.map(|m| m.slice(range.clone())), v.slice(range.clone())) };
                super::adam(self.isa, adam, value, gradient, m, v);
            }
            Rule::Dynamic(dynamic) => {
                // SAFETY: as above.
                let moments =
                    [first, second].map(|moment| unsafe { &*moment.slice(range.clone()) });
                super::dynamic(self.isa, dynamic, value, gradient, moments);
            }
        }
        if let Some(weight) = self.pass.average {
            // SAFETY: as above.
            average_of_block(self.isa, weight, value, unsafe { self.average.slice(range) });
        }
    }
}
