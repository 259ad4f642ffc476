//! A folder to work in, and the program run in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use recurra::data::storybook::{Language, Storybook};
use tempfile::TempDir;

/// A folder of its own for a test, with a cache of its own; gone afterwards.
pub struct Workplace {
    folder: TempDir,
}

/// How the program ended and what it said.
pub struct Outcome {
    line: String,
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

/// The smallest settings that are a training run at all.
pub const TINY: &str = "--tokenizer char --embed 8 --hidden 12 --layers 1 --dropout 0.1 --batch 4 --bptt 16 \
                        --lr 0.01 --schedule constant --seed 3 --threads 1";

impl Workplace {
    /// An empty folder.
    pub fn new() -> Workplace {
        Workplace { folder: tempfile::tempdir().expect("a temporary folder can be made") }
    }

    /// A folder with a text of `n_bytes` called `text.txt`.
    pub fn with_text(n_bytes: usize) -> Workplace {
        let place = Workplace::new();
        place.write("text.txt", Storybook::new(Language::English, 7).text(n_bytes));
        place
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("it lies in the folder"))
            .expect("a folder can be made");
        std::fs::write(path, bytes).expect("a file can be written");
    }

    /// Reads a file.
    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The program with the words of `line` as arguments, in this folder.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("recurra"));
        command.args(line.split_whitespace());
        self.prepare(&mut command);
        command
    }

    /// Makes any command run in this folder, with its cache and nothing of the environment that would matter.
    pub fn prepare(&self, command: &mut Command) {
        command.current_dir(self.folder.path()).env("RECURRA_CACHE", self.path("cache"));
        command.env_remove("RECURRA_ISA").env_remove("RUST_BACKTRACE");
    }

    /// Runs the program to its end.
    #[track_caller]
    pub fn run(&self, line: &str) -> Outcome {
        Outcome::new(line, self.command(line).output().expect("the program can be started"))
    }

    /// Runs the program with more arguments that hold spaces.
    #[track_caller]
    pub fn run_with(&self, line: &str, more: &[&str]) -> Outcome {
        Outcome::new(
            line,
            self.command(line).args(more).output().expect("the program can be started"),
        )
    }

    /// Trains the smallest model for `steps` steps into `out`.
    #[track_caller]
    pub fn train(&self, out: &str, steps: usize) -> serde_json::Value {
        self.run(&format!("train text.txt --out {out} {TINY} --steps {steps} --json"))
            .succeeds()
            .json()
    }
}

impl Outcome {
    /// What a finished command left.
    pub fn new(line: &str, output: Output) -> Outcome {
        let text = |bytes| String::from_utf8(bytes).expect("the program writes UTF-8");
        Outcome {
            line: line.to_owned(),
            status: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Ended with status 0.
    #[track_caller]
    pub fn succeeds(self) -> Outcome {
        assert_eq!(self.status, Some(0), "`recurra {}`:\n{}", self.line, self.stderr);
        self
    }

    /// Ended with this status, `error: …` with the first part, an empty line and `hint: …` with the second; nothing else
    /// looks like a fault.
    #[track_caller]
    pub fn fails(self, status: i32, message: &str, hint: &str) -> Outcome {
        let Outcome { line, stderr, .. } = &self;
        assert_eq!(self.status, Some(status), "`recurra {line}`:\n{stderr}");
        let error_at = stderr
            .find("error: ")
            .unwrap_or_else(|| panic!("`recurra {line}` told no error:\n{stderr}"));
        let (error, advice) = stderr[error_at..]
            .split_once("\n\nhint: ")
            .unwrap_or_else(|| panic!("`recurra {line}` gave no hint:\n{stderr}"));
        assert!(
            error.contains(message),
            "`recurra {line}`: `{message}` is not in the error:\n{stderr}"
        );
        assert!(advice.contains(hint), "`recurra {line}`: `{hint}` is not in the hint:\n{stderr}");
        assert!(
            !stderr.contains("panicked") && !stderr.contains("fault of the program"),
            "`recurra {line}`:\n{stderr}"
        );
        self
    }

    /// Told this on standard error.
    #[track_caller]
    pub fn tells(self, part: &str) -> Outcome {
        assert!(
            self.stderr.contains(part),
            "`recurra {}` did not tell `{part}`:\n{}",
            self.line,
            self.stderr
        );
        self
    }

    /// What it wrote to standard output.
    pub fn stdout(&self) -> &str {
        &self.stdout
    }

    /// What it told people.
    pub fn stderr(&self) -> &str {
        &self.stderr
    }

    /// The JSON object in the last line of standard output.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        let line = self
            .stdout
            .lines()
            .last()
            .unwrap_or_else(|| panic!("`recurra {}` wrote nothing", self.line));
        serde_json::from_str(line)
            .unwrap_or_else(|error| panic!("`recurra {}`: {error} in {line}", self.line))
    }
}

/// Every file below a folder with its bytes, but for the lock, whose content says who held it last.
pub fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).expect("the folder is there").flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.file_name().is_some_and(|name| name != "lock") {
                let bytes = std::fs::read(&path).expect("a file can be read");
                found.push((path, bytes));
            }
        }
    }
    found.sort();
    found
}
