//! The program `recurra`: one file a command. The only crate that prints.
//!
//! Parsing never acts. Each command goes arguments → settings → run, and ends in an exit status: 0 done, 1 the user's
//! data or files, 2 the arguments or an unexpected fault.

#[macro_use]
mod output;

mod add_on_flags;
mod argument_errors;
mod commands;
mod failure;
mod interrupt;
mod machine_flags;
mod memory;
mod network_flags;
mod optimizer_flags;
mod peaks;
mod progress;
mod recipe_file;
mod recipe_flags;
mod text_flags;
mod values;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use commands::{bench, compare, doctor, eval, generate, info, train};
use failure::Failure;

/// Language models that remember: train, evaluate and run them on the CPU you have.
#[derive(Debug, Parser)]
#[command(name = "recurra", version, max_term_width = 100)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Train(Box<train::Train>),
    Eval(eval::Eval),
    Compare(compare::Compare),
    Generate(generate::Generate),
    Info(info::Info),
    Doctor(doctor::Doctor),
    Bench(Box<bench::Bench>),
}

fn main() -> ExitCode {
    failure::report_panics();
    let outcome = std::panic::catch_unwind(|| match Program::try_parse() {
        Ok(program) => program.run(),
        Err(error) if !error.use_stderr() => {
            // Help and version; a reader that went away is no failure.
            let _ = error.print();
            Ok(())
        }
        Err(error) => {
            let words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
            let command = argument_errors::command_of(&Program::command(), words);
            Err(argument_errors::failure(&error, &command))
        }
    });
    match outcome {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(failure)) => failure.report(),
        // The hook has told what happened.
        Err(_) => ExitCode::from(failure::ARGUMENTS),
    }
}

impl Program {
    fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Train(train) => train.run(),
            Command::Eval(eval) => eval.run(),
            Command::Compare(compare) => compare.run(),
            Command::Generate(generate) => generate.run(),
            Command::Info(info) => info.run(),
            Command::Doctor(doctor) => doctor.run(),
            Command::Bench(bench) => bench.run(),
        }
    }
}

#[cfg(test)]
mod tests;
