//! The flags that say what computes; no result depends on the number of threads.

use std::path::Path;

use clap::{Args, ValueEnum};
use recurra::Model;
use recurra::kernels::step::Storage;
use recurra::kernels::{self, Cpu, Isa, IsaError};

use crate::failure::Failure;
use crate::values;

/// The kinds of numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Precision {
    /// The fastest that this machine and this version have.
    #[default]
    Auto,
    /// 32-bit numbers everywhere.
    F32,
    /// 16-bit operands, everything else in 32 bits.
    Bf16,
}

/// How many threads compute.
#[derive(Args, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Threads {
    /// Number of threads [default: the number of cores]
    #[arg(long = "threads", value_parser = values::size::<1, 1024>, value_name = "N")]
    pub asked: Option<usize>,
}

impl Threads {
    /// As many as were asked for, or as there are cores.
    pub fn number(self) -> usize {
        self.asked.unwrap_or_else(n_cores)
    }
}

/// What computes.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
#[command(next_help_heading = "Machine")]
pub struct MachineFlags {
    #[command(flatten)]
    pub threads: Threads,
    /// Kind of numbers
    #[arg(
        long,
        value_enum,
        hide_possible_values = true,
        default_value = "auto",
        value_name = "auto|f32|bf16"
    )]
    pub precision: Precision,
}

impl MachineFlags {
    /// The precision that was asked for.
    pub fn precision(&self) -> Option<kernels::Precision> {
        match self.precision {
            Precision::Auto => None,
            Precision::F32 => Some(kernels::Precision::F32),
            Precision::Bf16 => Some(kernels::Precision::Bf16),
        }
    }

    /// What computes.
    pub fn cpu(&self) -> Result<Cpu, Failure> {
        Cpu::with_precision(self.precision(), self.threads.number()).map_err(isa_failure)
    }

    /// Refuses what this machine cannot compute with.
    pub fn check(&self) -> Result<(), Failure> {
        Isa::chosen(self.precision()).map(drop).map_err(isa_failure)
    }
}

/// The kinds of numbers that a model is used with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum UsePrecision {
    /// The fastest that costs nothing to speak of.
    #[default]
    Auto,
    /// 32-bit numbers everywhere.
    F32,
    /// 16-bit weights.
    Bf16,
    /// 8-bit weights and inputs, with a scale a row.
    Int8,
}

/// What computes when a model is used, not trained.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
#[command(next_help_heading = "Machine")]
pub struct UseFlags {
    #[command(flatten)]
    pub threads: Threads,
    /// Kind of numbers
    #[arg(
        long,
        value_enum,
        hide_possible_values = true,
        default_value = "auto",
        value_name = "auto|f32|bf16|int8"
    )]
    pub precision: UsePrecision,
}

impl UseFlags {
    /// What computes: the best instruction set with the precision that was asked for, else the best of all.
    pub fn cpu(&self) -> Result<Cpu, Failure> {
        let asked = match self.precision {
            UsePrecision::F32 => Some(kernels::Precision::F32),
            UsePrecision::Bf16 => Some(kernels::Precision::Bf16),
            UsePrecision::Auto | UsePrecision::Int8 => None,
        };
        let threads = self.threads.number();
        Cpu::with_precision(asked, threads).or_else(|_| Cpu::new(threads)).map_err(isa_failure)
    }

    /// A model to write with.
    pub fn open(&self, folder: &Path) -> Result<Model, Failure> {
        let model = Model::open_to_write(self.cpu()?, folder, self.storage())?;
        self.tell_of_other_storage(&model);
        Ok(model)
    }

    /// A model to read long texts with: whole windows at once, where an instruction set of this machine has this precision.
    pub fn open_to_read(&self, folder: &Path) -> Result<Model, Failure> {
        let model = Model::open_on(self.cpu()?, folder)?;
        let model = match self.storage() {
            Some(storage) => model.with_storage(storage),
            None => model,
        };
        self.tell_of_other_storage(&model);
        Ok(model)
    }

    /// Families without step kernels have their weights as training has them, whatever was asked for.
    fn tell_of_other_storage(&self, model: &Model) {
        let Some(asked) = self.storage() else { return };
        let used = model.reference().storage();
        if asked != used {
            let cell = model.saved().config.cell;
            tell_line!(
                "warning: {asked} is not for {cell}, whose weights stay as training has them: {used}"
            );
        }
    }

    /// How weights are stored that were asked for; none for whatever is best.
    pub fn storage(&self) -> Option<Storage> {
        match self.precision {
            UsePrecision::Auto => None,
            UsePrecision::F32 => Some(Storage::F32),
            UsePrecision::Bf16 => Some(Storage::Bf16),
            UsePrecision::Int8 => Some(Storage::Int8),
        }
    }
}

/// Number of cores that this process may use.
pub fn n_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// `RECURRA_ISA` is set by whoever runs the program, so it counts as an argument.
pub fn isa_failure(error: IsaError) -> Failure {
    Failure::of_arguments(error.to_string(), error.hint())
}
