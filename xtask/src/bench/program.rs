//! A program that can be timed: how it is started, whether it is there, and how it gets there.

use std::env::consts::EXE_SUFFIX;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Bench, Isa, Mode, Timing, parse};

/// Recurra or one of its opponents.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its name in the table.
    pub name: &'static str,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Recurra {
        path: PathBuf,
    },
    /// `bench/peers/pytorch_lm.py`.
    Script {
        python: PathBuf,
        script: PathBuf,
    },
    /// A program outside of the workspace that knows one shape.
    Crate {
        path: PathBuf,
        manifest: PathBuf,
        target: PathBuf,
    },
}

/// What the small programs train.
const SHAPE_OF_CRATES: &str = "word-650";

impl Program {
    /// This repository's program, built now, or the one that was named.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn recurra(bench: &Bench, root: &Path) -> Result<Program, String> {
        let path = match &bench.recurra {
            Some(path) => path.clone(),
            None => {
                let mut build = Command::new(env!("CARGO"));
                build.args(["build", "--release", "--package", "recurra-cli"]).current_dir(root);
                if !build.status().is_ok_and(|status| status.success()) {
                    return Err("`cargo build --release --package recurra-cli` failed".to_owned());
                }
                target_folder(root).join(format!("release/recurra{EXE_SUFFIX}"))
            }
        };
        Ok(Program { name: "Recurra", kind: Kind::Recurra { path } })
    }

    /// All opponents, installed or not.
    pub fn peers(bench: &Bench, root: &Path) -> Vec<Program> {
        let folder = root.join("bench/peers");
        let script = folder.join("pytorch_lm.py");
        let torch = Kind::Script { python: bench.python.clone(), script };
        let small = |name: &str| {
            let target = target_folder(root).join("peers");
            Kind::Crate {
                path: target.join(format!("release/peer-{name}{EXE_SUFFIX}")),
                manifest: folder.join(name).join("Cargo.toml"),
                target,
            }
        };
        vec![
            Program { name: "PyTorch", kind: torch },
            Program { name: "candle", kind: small("candle") },
            Program { name: "Burn", kind: small("burn") },
        ]
    }

    /// Whether it can be started.
    pub fn is_installed(&self) -> bool {
        match &self.kind {
            Kind::Recurra { path } | Kind::Crate { path, .. } => path.is_file(),
            Kind::Script { python, .. } => {
                let mut command = Command::new(python);
                command.args(["-c", "import torch"]).stdout(Stdio::null()).stderr(Stdio::null());
                command.status().is_ok_and(|status| status.success())
            }
        }
    }

    /// What to do where it is not there.
    pub fn how_to_install(&self) -> String {
        match &self.kind {
            Kind::Recurra { path } => format!("{} (no program at `{}`)", self.name, path.display()),
            Kind::Script { .. } => {
                format!("{} (`pip install torch`, and `--python` names that Python)", self.name)
            }
            Kind::Crate { manifest, target, .. } => format!(
                "{} (`RUSTFLAGS=\"-C target-cpu=native\" cargo build --release --manifest-path {} --target-dir {}`)",
                self.name,
                manifest.display(),
                target.display()
            ),
        }
    }

    /// Whether it can be held to the instruction set, where one is asked for: what was compiled for this processor cannot.
    pub fn can_be_held(&self, isa: Option<Isa>) -> bool {
        isa.is_none() || !matches!(self.kind, Kind::Crate { .. })
    }

    /// Whether it can do what is asked for.
    pub fn knows(&self, mode: Mode, shape: &str) -> bool {
        match self.kind {
            Kind::Crate { .. } => mode == Mode::Train && shape == SHAPE_OF_CRATES,
            _ => true,
        }
    }

    /// Runs it once; of `precision`, or of the fastest that it has.
    ///
    /// # Errors
    /// When it cannot be started, fails, or does not say how fast it was.
    pub fn time(
        &self,
        bench: &Bench,
        mode: Mode,
        shape: &str,
        precision: Option<&str>,
    ) -> Result<Timing, String> {
        let mut command = self.command(bench, mode, shape, precision);
        let failed = |reason: String| format!("{} on `{shape}`: {reason}", self.name);
        let output = command.output().map_err(|error| failed(error.to_string()))?;
        if !output.status.success() {
            let told = String::from_utf8_lossy(&output.stderr);
            return Err(failed(format!("ended with {}: {}", output.status, told.trim())));
        }
        parse(&String::from_utf8_lossy(&output.stdout)).map_err(failed)
    }

    fn command(&self, bench: &Bench, mode: Mode, shape: &str, precision: Option<&str>) -> Command {
        let mut command;
        match &self.kind {
            Kind::Recurra { path } => {
                command = Command::new(path);
                command.args(["bench", mode.name(), "--json", "--shape", shape]);
                add(&mut command, "--steps", bench.steps);
                if let Some(isa) = bench.isa {
                    command.env("RECURRA_ISA", isa.name());
                }
            }
            Kind::Script { python, script } => {
                command = Command::new(python);
                command.arg(script).args([mode.name(), "--shape", shape]);
                add(
                    &mut command,
                    if mode == Mode::Train { "--steps" } else { "--tokens" },
                    bench.steps,
                );
                let precision = if bench.isa.is_some() { Some("f32") } else { precision };
                add(&mut command, "--precision", precision);
                if bench.isa == Some(Isa::Avx2) {
                    command.envs([("ATEN_CPU_CAPABILITY", "avx2"), ("ONEDNN_MAX_CPU_ISA", "AVX2")]);
                }
            }
            Kind::Crate { path, .. } => {
                command = Command::new(path);
                command.args(bench.steps.map(|steps| steps.to_string()));
                if let Some(threads) = bench.threads {
                    command.env("RAYON_NUM_THREADS", threads.to_string());
                }
                return command;
            }
        }
        if mode == Mode::Generate {
            add(&mut command, "--streams", Some(bench.streams));
        }
        add(&mut command, "--threads", bench.threads);
        command
    }
}

fn add(command: &mut Command, flag: &str, value: Option<impl ToString>) {
    if let Some(value) = value {
        command.arg(flag).arg(value.to_string());
    }
}

/// Where cargo, started at the root, puts what it builds.
fn target_folder(root: &Path) -> PathBuf {
    root.join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        bench: Bench,
    }

    /// The command of PyTorch or Recurra for `line`, with its environment before it.
    fn command(name: &str, line: &str, precision: Option<&str>) -> String {
        let words = ["xtask"].into_iter().chain(line.split_whitespace());
        let bench = Line::parse_from(words).bench;
        let root = Path::new("/r");
        let mut programs = Program::peers(&bench, root);
        programs.push(Program::recurra(&bench, root).unwrap());
        let program = programs.into_iter().find(|program| program.name == name).unwrap();
        let command =
            program.command(&bench, bench.mode.unwrap_or(Mode::Train), "gru-512", precision);
        let environment = command
            .get_envs()
            .map(|(key, value)| format!("{}={} ", key.display(), value.unwrap().display()));
        let arguments = command.get_args().map(|word| word.to_string_lossy().into_owned());
        environment.collect::<String>() + &arguments.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn programs_are_asked_for_the_same() {
        let line = "--recurra r --mode generate --steps 9 --streams 64 --threads 2";
        assert_eq!(
            command("Recurra", line, None),
            "bench generate --json --shape gru-512 --steps 9 --streams 64 --threads 2"
        );
        assert_eq!(
            command("PyTorch", line, Some("bf16")),
            "/r/bench/peers/pytorch_lm.py generate --shape gru-512 --tokens 9 --precision bf16 --streams 64 --threads 2"
        );
    }

    #[test]
    fn an_instruction_set_holds_both() {
        let line = "--recurra r --isa avx2";
        assert_eq!(
            command("Recurra", line, None),
            "RECURRA_ISA=avx2 bench train --json --shape gru-512"
        );
        assert_eq!(
            command("PyTorch", line, None),
            "ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 /r/bench/peers/pytorch_lm.py train --shape gru-512 --precision f32"
        );
    }

    #[test]
    fn what_was_compiled_for_this_processor_is_left_out_of_another_instruction_set() {
        let bench = Line::parse_from(["xtask", "--recurra", "r"]).bench;
        let held = |isa| -> Vec<&str> {
            let peers = Program::peers(&bench, Path::new("/r"));
            peers.into_iter().filter(|peer| peer.can_be_held(isa)).map(|peer| peer.name).collect()
        };
        assert_eq!(held(None), ["PyTorch", "candle", "Burn"]);
        assert_eq!(held(Some(Isa::Avx2)), ["PyTorch"]);
    }

    #[test]
    fn what_is_missing_comes_with_a_command() {
        let bench = Line::parse_from(["xtask", "--recurra", "r", "--python", "/no/python"]).bench;
        let [torch, small @ ..] = &Program::peers(&bench, Path::new("/no/repository"))[..] else {
            panic!("no opponents")
        };
        assert!(!torch.is_installed() && torch.how_to_install().contains("pip install torch"));
        for peer in small {
            let hint = peer.how_to_install();
            assert!(
                hint.contains("cargo build --release --manifest-path /no/repository"),
                "{hint}"
            );
        }
    }
}
