//! `recurra bench`: how fast a model of a given shape trains or writes on this machine.
//!
//! Training as `bench/peers` do it for other programs: random tokens, dropout 0.5, global clipping, plain gradient descent;
//! the median step after two that are not counted. Writing finds the likeliest token each time and reads one as it comes in
//! texts; the median stretch of 20 steps after one that is not counted.
//! Results are checked before anything is timed.

use std::fmt;

use clap::{Args, Subcommand};
use recurra::kernels::peak;
use recurra::kernels::step::Storage;
use recurra::metrics::readable::rounded;
use recurra::models::{CellKind, LanguageModelConfig, Regularization};
use recurra::tensor::{Cpu, Optimizer, Window};
use recurra::train::{Purpose, Trial, median};
use serde::Serialize;

use crate::failure::Failure;
use crate::machine_flags::{MachineFlags, UseFlags};
use crate::network_flags::{self, NetworkFlags};
use crate::recipe_flags::layer_widths;
use crate::values::{self, Parsed, ValueError, nearest};
use crate::{memory, output};

mod step;
mod writing;

/// Time how fast a model of a given shape trains or writes
#[derive(Args, Debug)]
#[command(allow_negative_numbers = true)]
pub struct Bench {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Debug, Subcommand)]
enum Mode {
    /// Forward, backward, clipping and update on random tokens
    #[command(allow_negative_numbers = true)] // so that `--steps -1` is told what it may be
    Train {
        #[command(flatten)]
        settings: Settings,
        #[command(flatten)]
        machine: MachineFlags,
    },
    /// One token after another, the likeliest each time
    #[command(allow_negative_numbers = true)]
    Generate {
        #[command(flatten)]
        settings: Settings,
        #[command(flatten)]
        machine: UseFlags,
    },
    /// One step of one LSTM layer in one stream, checked before it is timed
    Step(step::Step),
}

/// What to time.
#[derive(Args, Clone, Debug)]
struct Settings {
    /// A shape by name: char-512, gru-512, ptb-650, word-650, word-200, awd-1150
    #[arg(long, value_parser = shape, value_name = "NAME")]
    shape: Option<&'static Shape>,
    #[arg(long, help = network_flags::model_help("that of --shape, else lstm"), value_parser = network_flags::cell, value_name = "KIND")]
    model: Option<CellKind>,
    #[command(flatten)]
    network: NetworkFlags,
    /// Size of the vocabulary [default: 96]
    #[arg(long, value_parser = values::size::<2, 10_000_000>, value_name = "N")]
    vocab: Option<usize>,
    /// Width of the embedding [default: the first of --hidden]
    #[arg(long, value_parser = values::size::<1, 65536>, value_name = "N")]
    embed: Option<usize>,
    /// Width of the layers, one for all or one each [default: 512]
    #[arg(long, value_parser = values::size::<1, 65536>, value_delimiter = ',', value_name = "N[,N...]")]
    hidden: Option<Vec<usize>>,
    /// Number of layers [default: 1, or as many as --hidden has widths]
    #[arg(long, value_parser = values::size::<1, 64>, value_name = "N")]
    layers: Option<usize>,
    /// Use the embedding as output layer too (--tied=false: do not)
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    tied: Option<bool>,
    /// Streams read side by side in training [default: 32]
    #[arg(long, value_parser = values::size::<1, 65536>, value_name = "N")]
    batch: Option<usize>,
    /// Tokens of each stream that gradients reach back in training [default: 64]
    #[arg(long, value_parser = values::size::<1, 65536>, value_name = "N")]
    bptt: Option<usize>,
    /// Streams written side by side [default: 1]
    #[arg(long, value_parser = values::size::<1, 65536>, value_name = "N")]
    streams: Option<usize>,
    /// Steps to time [default: 7 in training; in writing, where 20 are timed together, 300, of a small model more]
    #[arg(long, value_parser = values::size::<1, 1_000_000>, value_name = "N")]
    steps: Option<usize>,
    /// Print one JSON object as last line of standard output
    #[arg(long)]
    json: bool,
}

/// A model and the windows it trains on.
#[derive(Clone, Debug, PartialEq)]
struct Shape {
    name: &'static str,
    cell: CellKind,
    vocab: usize,
    embed: usize,
    hidden: &'static [usize],
    batch: usize,
    bptt: usize,
    tied: bool,
}

/// The shapes that the project compares itself by: cell, V, E, H, B × T, tied.
static SHAPES: [Shape; 6] = [
    Shape::new("char-512", CellKind::Lstm, (96, 512, &[512, 512]), (64, 128), false),
    Shape::new("gru-512", CellKind::Gru, (96, 512, &[512, 512]), (64, 128), false),
    Shape::new("ptb-650", CellKind::Lstm, (10_000, 650, &[650, 650]), (20, 35), true),
    Shape::new("word-650", CellKind::Lstm, (33_278, 650, &[650, 650]), (20, 35), true),
    Shape::new("word-200", CellKind::Lstm, (33_278, 200, &[200, 200]), (20, 35), true),
    Shape::new("awd-1150", CellKind::Lstm, (10_000, 400, &[1150, 1150, 400]), (20, 70), true),
];

impl Shape {
    const fn new(
        name: &'static str,
        cell: CellKind,
        (vocab, embed, hidden): (usize, usize, &'static [usize]),
        (batch, bptt): (usize, usize),
        tied: bool,
    ) -> Shape {
        Shape { name, cell, vocab, embed, hidden, batch, bptt, tied }
    }
}

fn shape(name: &str) -> Parsed<&'static Shape> {
    SHAPES.iter().find(|shape| shape.name == name).ok_or_else(|| ValueError {
        expected: SHAPES.each_ref().map(|shape| shape.name).join(", "),
        hint: nearest(name, SHAPES.iter().map(|shape| shape.name))
            .map(|near| format!("did you mean `{near}`?")),
    })
}

/// What is timed, with nothing left open.
#[derive(Debug)]
struct Task {
    name: String,
    config: LanguageModelConfig,
    window: Window,
    steps: usize,
}

/// What came out.
#[derive(Debug, Serialize)]
struct Timing {
    shape: String,
    mode: &'static str,
    tokens_per_second: f64,
    flops_per_token: u64,
    gflops: f64,
    peak_gflops: f64,
    /// What the peak is of; weights in int8 are multiplied faster than that.
    peak_precision: &'static str,
    utilisation: f64,
    peak_rss_mib: Option<u64>,
    isa: &'static str,
    precision: &'static str,
    threads: usize,
}

/// Steps before those that count.
const WARM_UP: usize = 2;

impl Bench {
    /// Builds the model and times it.
    pub fn run(self) -> Result<(), Failure> {
        match self.mode {
            Mode::Train { settings, machine } => {
                machine.check()?;
                let task = settings.task(true)?;
                let cpu = machine.cpu()?;
                let precision = cpu.isa().precision().name();
                task.report("train", &cpu, precision, settings.json, || task.time_training(&cpu))
            }
            Mode::Generate { settings, machine } => {
                let task = settings.task(false)?;
                let cpu = machine.cpu()?;
                let storage = machine.storage().unwrap_or(Storage::FASTEST);
                let writing = writing::Writing::new(&task, &cpu, storage)?;
                let time = || writing::tokens_per_second(&task, &cpu, &writing);
                task.report("generate", &cpu, writing.storage().name(), settings.json, time)
            }
            Mode::Step(step) => step.run(),
        }
    }
}

impl Settings {
    /// The named shape, with whatever was given beside it put over it.
    fn task(&self, is_training: bool) -> Result<Task, Failure> {
        self.tell_of_the_other_mode(is_training);
        let named = self.shape;
        // Equal widths of a named shape are one width, of as many layers as are asked for.
        let of_shape = |shape: &Shape| match (self.layers, shape.hidden) {
            (Some(_), [first, rest @ ..]) if rest.iter().all(|width| width == first) => {
                vec![*first]
            }
            (_, widths) => widths.to_vec(),
        };
        let widths = self.hidden.clone().or(named.map(of_shape)).unwrap_or_else(|| vec![512]);
        let hidden_sizes = layer_widths(&widths, self.layers)?;
        let config = LanguageModelConfig {
            cell: self.network.family(self.model.or(named.map(|shape| shape.cell)))?,
            vocab_size: self.vocab.or(named.map(|shape| shape.vocab)).unwrap_or(96),
            embed_size: self.embed.or(named.map(|shape| shape.embed)).unwrap_or(hidden_sizes[0]),
            hidden_sizes,
            tied: self.tied.or(named.map(|shape| shape.tied)).unwrap_or(false),
            dropout: 0.5,
            options: self.network.cell_options(),
            regularization: self.network.regularization(),
        };
        let is_named = named.is_some_and(|shape| self.is_untouched(shape));
        let name = named
            .filter(|_| is_named)
            .map_or_else(|| description(&config), |shape| shape.name.to_owned());
        let window = match is_training {
            true => Window {
                time: self.bptt.or(named.map(|shape| shape.bptt)).unwrap_or(64),
                batch: self.batch.or(named.map(|shape| shape.batch)).unwrap_or(32),
            },
            false => Window { time: 1, batch: self.streams.unwrap_or(1) },
        };
        let purpose = match is_training {
            true => Purpose::Training { moments: Optimizer::SGD.n_moments(), window },
            false => Purpose::Use { streams: window.batch },
        };
        memory::expect_room(&config, purpose)?;
        let steps = self.steps.unwrap_or(match is_training {
            true => 7,
            false => writing::enough_steps(&config, window.batch),
        });
        Ok(Task { name, config, window, steps })
    }

    /// Flags of the other mode have no effect, so that one line of them serves both; but that is told.
    fn tell_of_the_other_mode(&self, is_training: bool) {
        let (mode, instead) = match is_training {
            true => ("train", "`--batch` is for the streams of training"),
            false => ("generate", "`--streams` is for streams written side by side"),
        };
        let given = [
            ("--streams", is_training && self.streams.is_some()),
            ("--batch", !is_training && self.batch.is_some()),
            ("--bptt", !is_training && self.bptt.is_some()),
        ];
        for (flag, _) in given.into_iter().filter(|(_, is_given)| *is_given) {
            tell_line!("`{flag}` has no part in `bench {mode}`: {instead}");
        }
        if !is_training && self.network.regularization() != Regularization::default() {
            tell_line!(
                "dropout and penalties have no part in `bench {mode}`: they are for training"
            );
        }
    }

    /// Whether nothing that was given makes another shape of the named one.
    fn is_untouched(&self, shape: &Shape) -> bool {
        self.network == NetworkFlags::default()
            && self.model.is_none_or(|model| model == shape.cell)
            && self.vocab.is_none_or(|vocab| vocab == shape.vocab)
            && self.embed.is_none_or(|embed| embed == shape.embed)
            && self.hidden.as_deref().is_none_or(|hidden| hidden == shape.hidden)
            && self.layers.is_none_or(|layers| layers == shape.hidden.len())
            && self.tied.is_none_or(|tied| tied == shape.tied)
            && self.batch.is_none_or(|batch| batch == shape.batch)
            && self.bptt.is_none_or(|bptt| bptt == shape.bptt)
    }
}

/// A shape without a name: `lstm-v96-e512-h512,512`.
fn description(config: &LanguageModelConfig) -> String {
    let widths: Vec<String> = config.hidden_sizes.iter().map(usize::to_string).collect();
    let tied = if config.tied { "-tied" } else { "" };
    format!(
        "{}-v{}-e{}-h{}{tied}",
        config.cell,
        config.vocab_size,
        config.embed_size,
        widths.join(",")
    )
}

impl Task {
    /// Times it, and says how that compares with what the machine can do.
    fn report(
        &self,
        mode: &'static str,
        cpu: &Cpu,
        precision: &'static str,
        json: bool,
        time: impl FnOnce() -> Result<f64, Failure>,
    ) -> Result<(), Failure> {
        let (isa, threads) = (cpu.isa(), cpu.threads());
        tell_line!("{self}, {mode}, {isa} in {precision}, {threads} threads");
        let peak_before = peak::gflops(cpu);
        let tokens_per_second = time()?;
        let peak_gflops = peak::gflops(cpu).max(peak_before); // of a machine that others use too
        // A forward pass is a third of training.
        let flops_per_token = self.config.flops_per_token() / if mode == "train" { 1 } else { 3 };
        let gflops = tokens_per_second * flops_per_token as f64 / 1e9;
        let timing = Timing {
            shape: self.name.clone(),
            mode,
            tokens_per_second,
            flops_per_token,
            gflops,
            peak_gflops,
            peak_precision: isa.precision().name(),
            utilisation: gflops / peak_gflops,
            peak_rss_mib: memory::peak_rss_bytes().map(|bytes| bytes >> 20),
            isa: isa.name(),
            precision,
            threads,
        };
        tell_line!("{timing}");
        if json { output::write_json(&timing) } else { Ok(()) }
    }

    /// Tokens a second of whole training steps.
    fn time_training(&self, cpu: &Cpu) -> Result<f64, Failure> {
        let trial = Trial {
            config: &self.config,
            optimizer: Optimizer::SGD,
            clip: 0.25,
            token_counts: None,
            seed: 1,
        };
        let goes_on = |n_made, _| n_made < WARM_UP + self.steps;
        let outcome = trial.time(cpu, self.window, goes_on)?;
        self.expect_first_loss(outcome.first_loss_nats)?;
        Ok(self.window.len() as f64 / median(outcome.seconds[WARM_UP..].to_vec()))
    }

    /// Refuses to time a wrong result: a network that learned nothing finds all V tokens about equally likely.
    ///
    /// What it says of a token is a sum over H products with weights in ±0.1, of variance H / 300 at most where h lies within
    /// ±1, and the loss is above ln V by half of that.
    fn expect_first_loss(&self, loss_nats: f64) -> Result<(), Failure> {
        let expected = (self.config.vocab_size as f64).ln();
        let most_above = 1.0 + self.config.last_hidden_size() as f64 / 600.0;
        if loss_nats > expected - 1.0 && loss_nats < expected + most_above {
            return Ok(());
        }
        Err(Failure::of_wrong_result(format!(
            "the first loss is {loss_nats}, expected about {expected:.2}"
        )))
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parameters = rounded(self.config.n_parameters() as f64);
        write!(
            f,
            "{}: {parameters} parameters, {} × {} tokens a step",
            self.name, self.window.batch, self.window.time
        )
    }
}

impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} tokens/s, {:.1} GFLOP/s, {:.0} % of the {:.0} GFLOP/s that the unit reaches in {}",
            rounded(self.tokens_per_second),
            self.gflops,
            self.utilisation * 100.0,
            self.peak_gflops,
            self.peak_precision
        )?;
        self.peak_rss_mib.map_or(Ok(()), |mib| write!(f, ", {mib} MiB"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_shapes_have_the_arithmetic_that_is_published_for_them() {
        // MFLOP a token in training: six for each weight that is multiplied with.
        for (name, published) in
            [("char-512", 25.5), ("ptb-650", 79.6), ("awd-1150", 145.0), ("word-650", 170.0)]
        {
            let shape = shape(name).unwrap();
            let config = LanguageModelConfig {
                cell: shape.cell,
                embed_size: shape.embed,
                hidden_sizes: shape.hidden.to_vec(),
                tied: shape.tied,
                ..LanguageModelConfig::new(shape.vocab)
            };
            let found = config.flops_per_token() as f64 / 1e6;
            assert!(
                (found / published - 1.0).abs() < 0.01,
                "{name}: {found}, published {published}"
            );
        }
    }

    #[test]
    fn a_wrong_loss_is_not_timed() {
        let (name, window) = ("a".to_owned(), Window { time: 1, batch: 1 });
        let task = Task { name, config: LanguageModelConfig::new(96), window, steps: 1 };
        assert!(task.expect_first_loss(4.6).is_ok());
        for wrong in [0.0, 3.5, 6.1, f64::NAN] {
            let failure = task.expect_first_loss(wrong).unwrap_err();
            assert!(failure.message().ends_with("expected about 4.56"), "{}", failure.message());
        }
    }

    #[test]
    fn a_misspelt_shape_is_answered_with_the_nearest() {
        assert_eq!(shape("ptb650").unwrap_err().hint.unwrap(), "did you mean `ptb-650`?");
    }
}
