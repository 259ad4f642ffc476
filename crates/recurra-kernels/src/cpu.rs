//! What computes: an instruction set and a team of threads.

use crate::{Isa, IsaError, Pool, Precision};

/// The processor as every kernel sees it: which instructions it may use and which threads share the work.
#[derive(Debug)]
pub struct Cpu {
    isa: Isa,
    pool: Pool,
}

impl Cpu {
    /// The best instruction set of this machine (or the one `RECURRA_ISA` names) on `threads` threads.
    ///
    /// # Errors
    /// When `RECURRA_ISA` names an instruction set that does not exist or that this machine lacks.
    pub fn new(threads: usize) -> Result<Self, IsaError> {
        Self::with_precision(None, threads)
    }

    /// As [`new`](Self::new), of the instruction sets that multiply in `precision`, if one is given.
    ///
    /// # Errors
    /// As [`new`](Self::new), and when this machine has no such set.
    pub fn with_precision(precision: Option<Precision>, threads: usize) -> Result<Self, IsaError> {
        Ok(Self::with_isa(Isa::chosen(precision)?, threads))
    }

    /// A given instruction set on `threads` threads (at least one).
    ///
    /// # Panics
    /// When this machine lacks `isa`.
    #[track_caller]
    pub fn with_isa(isa: Isa, threads: usize) -> Self {
        assert!(isa.is_available(), "instruction set `{isa}` asked for on a machine that lacks it");
        Self { isa, pool: Pool::new(threads) }
    }

    /// The instruction set that kernels use.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The team of threads.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// How many threads share the work.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }
}
