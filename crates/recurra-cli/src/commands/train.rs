//! `recurra train`: from a text to a model folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{Args, ValueEnum};
use recurra::checkpoint::ModelFolder;
use recurra::data::{Text, expect_one_stdin, storybook};
use recurra::metrics::readable::{duration, grouped};
use recurra::train::{self, Corpus, RecipeOptions, Report, Settings};

use crate::failure::Failure;
use crate::machine_flags::MachineFlags;
use crate::progress::Printer;
use crate::recipe_flags::RecipeFlags;
use crate::text_flags::TextFlags;
use crate::{interrupt, output, recipe_file};

/// Train a model on files, folders, standard input (-) or, with no PATH, the stories inside the program
///
/// What is not given is chosen from the text, and told. Ctrl-C saves and stops; --resume goes on.
#[derive(Args, Debug)]
#[command(allow_negative_numbers = true)] // so that `--lr -1` is told what it may be
pub struct Train {
    /// Files and folders to learn from; - is standard input
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Folder of the model [default: runs/ and the name of the first PATH]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on with the run in --out
    #[arg(long)]
    resume: bool,
    /// Text to validate on [default: the last tenth of the training text, 5 MB at most]
    #[arg(long, value_name = "PATH")]
    valid: Option<PathBuf>,
    /// Text to score the finished model on
    #[arg(long, value_name = "PATH")]
    test: Option<PathBuf>,
    /// Language of the stories inside the program [default: english]
    #[arg(
        long,
        value_enum,
        hide_possible_values = true,
        value_name = "english|chinese",
        conflicts_with = "paths"
    )]
    stories: Option<Language>,
    /// Print one JSON object as last line of standard output
    #[arg(long)]
    json: bool,
    #[arg(long, help = recipe_file::help(), value_name = "NAME|FILE", help_heading = "Recipe")]
    recipe: Option<String>,
    #[command(flatten, next_help_heading = "Recipe")]
    flags: RecipeFlags,
    #[command(flatten)]
    text: TextFlags,
    #[command(flatten)]
    machine: MachineFlags,
}

/// Languages of the storybook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Language {
    English,
    Chinese,
}

impl Train {
    /// Trains, and tells how it went.
    pub fn run(self) -> Result<(), Failure> {
        let recipe = self.check()?;
        let json = self.json;
        let stop = Arc::default();
        let settings = self.settings(recipe, &stop)?;
        let out = settings.out.clone();
        interrupt::set(&stop)?; // not before: nothing is to be saved while standard input is read
        let mut printer = Printer::new();
        let trained = train::train(settings, &mut printer, &stop);
        printer.finish();
        let report = trained?;
        tell!("{}", summary(&report, &out));
        if json { output::write_json(&report) } else { Ok(()) }
    }

    /// The flags together, with those of the recipe, before any text is read.
    pub fn check(&self) -> Result<RecipeOptions, Failure> {
        self.machine.check()?;
        let recipe = self.recipe.as_deref().map(recipe_file::load).transpose()?.unwrap_or_default();
        self.flags.clone().over(recipe).options()
    }

    /// What the library is asked for.
    fn settings(self, recipe: RecipeOptions, stop: &Arc<AtomicBool>) -> Result<Settings, Failure> {
        let out = self.out.unwrap_or_else(|| default_out(&self.paths, self.stories, self.resume));
        if !self.resume {
            // Before standard input is read for nothing.
            ModelFolder::expect_new(&out)?;
        }
        let options = self.text.options();
        expect_one_stdin(self.paths.iter().chain(&self.valid).chain(&self.test))?;
        let open =
            |paths: &[PathBuf]| Text::open(paths, &options).map(|text| text.stopped_by(stop));
        let corpus = match self.paths.as_slice() {
            [] => Corpus::storybook(
                self.stories.map_or(storybook::Language::English, Language::of_storybook),
            ),
            paths => Corpus::Text(open(paths)?),
        };
        Ok(Settings {
            valid: self.valid.map(|path| open(&[path])).transpose()?,
            test: self.test.map(|path| open(&[path])).transpose()?,
            resume: self.resume,
            recipe,
            threads: self.machine.threads.asked,
            precision: self.machine.precision(),
            ..Settings::new(corpus, out)
        })
    }
}

impl Language {
    fn of_storybook(self) -> storybook::Language {
        match self {
            Language::English => storybook::Language::English,
            Language::Chinese => storybook::Language::Chinese,
        }
    }
}

/// `runs/` and a name from the text: a new folder, or one whose run never began; to resume, the last one of that name.
fn default_out(paths: &[PathBuf], stories: Option<Language>, resume: bool) -> PathBuf {
    let name = match (paths.first(), stories) {
        (None, Some(Language::Chinese)) => "storybook-chinese".to_owned(),
        (None, _) => "storybook".to_owned(),
        (Some(path), _) if path.as_os_str() == "-" => "stdin".to_owned(),
        (Some(path), _) => name_of(path),
    };
    let runs = Path::new("runs");
    let numbered = |number: u32| match number {
        1 => runs.join(&name),
        _ => runs.join(format!("{name}-{number}")),
    };
    let is_free = |folder: PathBuf| !folder.exists() || ModelFolder::holds_no_run(&folder);
    let free = (1..).find(|&number| is_free(numbered(number))).unwrap_or(1);
    numbered(if resume { free.saturating_sub(1).max(1) } else { free })
}

/// `novel` for `books/novel.txt.gz`; a folder such as `.` has the name it is reached by.
fn name_of(path: &Path) -> String {
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let name =
        whole.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = name.trim_start_matches('.').split('.').next().unwrap_or_default();
    if stem.is_empty() { "text".to_owned() } else { stem.to_owned() }
}

/// What a finished or interrupted run comes to, for people.
fn summary(report: &Report, out: &Path) -> String {
    let mut text = format!(
        "`{}`: {} steps, {} tokens in {}\n",
        out.display(),
        grouped(report.steps),
        grouped(report.tokens),
        duration(report.seconds)
    );
    if let (Some(forecast), Some(found)) =
        (report.forecast_bits_per_byte, report.valid_bits_per_byte)
    {
        text += &format!(
            "{found:.3} bits/byte where {forecast:.3} were forecast: {:+.1} %\n",
            (found / forecast - 1.0) * 100.0
        );
    }
    if let (Some(perfect), Some(found)) = (report.true_bits_per_byte, report.valid_bits_per_byte) {
        text += &format!(
            "a perfect model needs {perfect:.3} bits/byte for these stories, this one {found:.3}: {:.3} more\n",
            found - perfect
        );
    }
    for kept in &report.kept_dependencies {
        text += &format!(
            "what a story settled {:>3} words before, it keeps in {:.0} % of {} places (by chance {:.0} %)\n",
            kept.distance_words,
            kept.rate() * 100.0,
            kept.probes,
            kept.chance() * 100.0
        );
    }
    if report.valid_loss_nats.is_some() {
        text += &format!("to let it write: recurra generate {}\n", out.display());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_named_after_the_text() {
        for (path, name) in
            [("a/novel.txt.gz", "novel"), ("b/.hidden.txt", "hidden"), ("/", "text")]
        {
            assert_eq!(name_of(Path::new(path)), name, "{path}");
        }
    }
}
