//! The project's own tools: benchmarks against peers, tidy tests.
//!
//! `cargo xtask tidy` prints every complaint of the tidy rules at once; the same rules run in `cargo test --workspace`
//! (xtask/tests/tidy.rs). `cargo xtask bench` times Recurra beside other programs.

use std::process::ExitCode;

use clap::Parser;
use xtask::bench::Bench;
use xtask::tidy;

/// The project's own tools
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Task {
    /// Print every complaint of the tidy rules at once
    Tidy,
    Bench(Bench),
}

fn main() -> ExitCode {
    match Task::parse() {
        Task::Tidy => {
            let complaints = tidy::all_complaints(&tidy::Tree::of_this_repository());
            for complaint in &complaints {
                println!("{complaint}");
            }
            if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        Task::Bench(bench) => match bench.run(&mut |line| eprintln!("{line}")) {
            Ok(table) => {
                println!("{table}");
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::from(1)
            }
        },
    }
}
