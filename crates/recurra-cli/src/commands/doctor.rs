//! `recurra doctor`: the machine, as this program sees it.

use clap::Args;
use recurra::kernels::{Cpu, Isa, peak};
use recurra::metrics::readable;
use serde::Serialize;

use crate::failure::Failure;
use crate::machine_flags::{Threads, isa_failure, n_cores};
use crate::peaks::{self, Reading};
use crate::{memory, output};

/// What this machine can do: cores, instruction sets, measured peaks, which kernels will run
#[derive(Args, Debug)]
#[command(allow_negative_numbers = true)] // so that `--threads -1` is told what it may be
pub struct Doctor {
    #[command(flatten)]
    threads: Threads,
    /// Print one JSON object as last line of standard output
    #[arg(long)]
    json: bool,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Findings {
    version: &'static str,
    processor: Option<String>,
    architecture: &'static str,
    operating_system: &'static str,
    cores: usize,
    threads: usize,
    memory_bytes: Option<u64>,
    instruction_sets: Vec<&'static str>,
    isa: &'static str,
    precision: &'static str,
    /// Of the unit that each instruction set multiplies with.
    peaks: Vec<Peak>,
    /// What a matrix product reaches on all threads.
    matmul_gflops: f64,
    readings: Vec<Reading>,
    cache: String,
}

/// Arithmetic that an instruction set reaches at most.
#[derive(Debug, Serialize)]
struct Peak {
    isa: &'static str,
    precision: &'static str,
    gflops_one_thread: f64,
    gflops: f64,
}

impl Peak {
    fn of(isa: Isa, threads: usize) -> Peak {
        Peak {
            isa: isa.name(),
            precision: isa.precision().name(),
            gflops_one_thread: peak::gflops(&Cpu::with_isa(isa, 1)),
            gflops: peak::gflops(&Cpu::with_isa(isa, threads)),
        }
    }

    fn for_people(&self) -> String {
        format!(
            "{} in {}: {:.0} GFLOP/s with one thread, {:.0} with all",
            self.isa, self.precision, self.gflops_one_thread, self.gflops
        )
    }
}

impl Doctor {
    /// Looks and measures; changes nothing.
    pub fn run(self) -> Result<(), Failure> {
        let isa = Isa::chosen(None).map_err(isa_failure)?;
        let threads = self.threads.number();
        let cpu = Cpu::with_isa(isa, threads);
        let findings = Findings {
            version: env!("CARGO_PKG_VERSION"),
            processor: peaks::processor_name(),
            architecture: std::env::consts::ARCH,
            operating_system: std::env::consts::OS,
            cores: n_cores(),
            threads,
            memory_bytes: memory::memory_bytes(),
            instruction_sets: Isa::available().into_iter().map(Isa::name).collect(),
            isa: isa.name(),
            precision: isa.precision().name(),
            peaks: Isa::available().into_iter().map(|isa| Peak::of(isa, threads)).collect(),
            matmul_gflops: peaks::matmul_gflops(&cpu)?,
            readings: peaks::readings(&cpu),
            cache: recurra::data::cache_dir().display().to_string(),
        };
        tell!("{}", findings.for_people());
        if self.json { output::write_json(&findings) } else { Ok(()) }
    }
}

impl Findings {
    fn for_people(&self) -> String {
        let unknown = || "not told by the system".to_owned();
        let peaks: Vec<String> = self.peaks.iter().map(Peak::for_people).collect();
        let reading =
            |reading: &Reading| format!("{} {:.1} GB/s", reading.from, reading.gbytes_per_second);
        let readings: Vec<String> = self.readings.iter().map(reading).collect();
        let rows = [
            (
                "program",
                format!(
                    "recurra {} on {} {}",
                    self.version, self.operating_system, self.architecture
                ),
            ),
            ("processor", self.processor.clone().unwrap_or_else(unknown)),
            ("cores", format!("{}, threads {}", self.cores, self.threads)),
            ("memory", self.memory_bytes.map_or_else(unknown, readable::memory)),
            ("instruction sets", self.instruction_sets.join(", ")),
            ("kernels", format!("{} in {}{}", self.isa, self.precision, self.forced())),
            ("peaks", peaks.join("\n                  ")),
            ("matrix product", format!("{:.0} GFLOP/s with {}", self.matmul_gflops, self.isa)),
            ("reads", readings.join(", ")),
            ("token cache", format!("`{}` (set RECURRA_CACHE for another place)", self.cache)),
        ];
        rows.iter().map(|(name, value)| format!("{name:<17} {value}\n")).collect()
    }

    fn forced(&self) -> &'static str {
        match Isa::best(None).is_some_and(|best| best.name() == self.isa) {
            true => "",
            false => " (forced by RECURRA_ISA)",
        }
    }
}
