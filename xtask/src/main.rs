//! The project's own tools: benchmarks against peers, golden numbers, tidy tests.
//!
//! `cargo run -p xtask -- tidy` prints every complaint of the tidy rules at once; the same rules run in
//! `cargo test --workspace` (xtask/tests/tidy.rs).

use std::process::ExitCode;

use xtask::tidy;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("tidy") => {
            let tree = tidy::Tree::of_this_repository();
            let complaints = tidy::all_complaints(&tree);
            for complaint in &complaints {
                println!("{complaint}");
            }
            if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        _ => {
            eprintln!("usage: cargo run -p xtask -- tidy");
            ExitCode::from(2)
        }
    }
}
