//! A run as people follow it: a bar on a terminal, a line now and then elsewhere; all of it on standard error.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use recurra::metrics::readable::{duration, grouped, rounded};
use recurra::train::{Event, Observer, Progress, StopReason};

/// Thousandths of the run that the bar counts.
const BAR_LENGTH: u64 = 1000;

/// First pause between two plain lines; each is longer than the one before, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Characters of a sample to show.
const SAMPLE_CHARS: usize = 240;

/// Prints the events of a run.
pub struct Printer {
    /// `None` where standard error is no terminal, or one that cannot move its cursor.
    bar: Option<ProgressBar>,
    next_line: Instant,
    pause: Duration,
}

impl Printer {
    /// A bar if standard error is a terminal that can show one, else lines.
    pub fn new() -> Printer {
        let is_dumb = std::env::var_os("TERM").is_some_and(|name| name == "dumb");
        let bar = (std::io::stderr().is_terminal() && !is_dumb).then(|| {
            let bar = ProgressBar::with_draw_target(
                Some(BAR_LENGTH),
                ProgressDrawTarget::stderr_with_hz(5),
            );
            let style = ProgressStyle::with_template("{bar:16} {percent:>3}%  {wide_msg}")
                .expect("the template is well formed");
            bar.with_style(style.progress_chars("━╸─"))
        });
        Printer { bar, next_line: Instant::now(), pause: FIRST_PAUSE }
    }

    /// Takes the bar away, so that what is printed next has the terminal to itself.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// A line that stays, above the bar where there is one.
    fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) if !bar.is_finished() => bar.suspend(|| tell_line!("{line}")),
            _ => tell_line!("{line}"),
        }
    }

    fn progress(&mut self, progress: &Progress) {
        self.show(progress.fraction, || position(progress));
    }

    fn scoring(&mut self, role: &str, done: u64, total: u64) {
        self.show(done as f64 / total.max(1) as f64, || {
            format!("scoring the {role} text: {} of {} tokens", grouped(done), grouped(total))
        });
    }

    /// On the bar, or as a line now and then.
    fn show(&mut self, fraction: f64, message: impl FnOnce() -> String) {
        let fraction = fraction.clamp(0.0, 1.0);
        if let Some(bar) = &self.bar {
            bar.set_position((fraction * BAR_LENGTH as f64) as u64);
            bar.set_message(message());
            return;
        }
        let now = Instant::now();
        if now >= self.next_line {
            tell_line!("{:>3.0} %  {}", fraction * 100.0, message());
            self.next_line = now + self.pause;
            self.pause = (self.pause * 5 / 4).min(LONGEST_PAUSE);
        }
    }
}

impl Observer for Printer {
    fn observe(&mut self, event: &Event<'_>) {
        match event {
            Event::Progress(progress) => self.progress(progress),
            Event::Scoring { role, done, total } => self.scoring(role, *done, *total),
            Event::Stopped { .. } => {
                self.next_line = Instant::now() + FIRST_PAUSE;
                told(event).into_iter().for_each(|line| self.say(&line));
            }
            _ => told(event).into_iter().for_each(|line| self.say(&line)),
        }
    }
}

/// Where a run stands, in one line, what matters most first: a narrow terminal cuts off the rest.
fn position(progress: &Progress) -> String {
    let step = match progress.steps_total {
        Some(total) => format!("step {} of {}", grouped(progress.step), grouped(total)),
        None => format!("step {}", grouped(progress.step)),
    };
    format!(
        "loss {:.4}  {:.3} bits/byte  {} tokens/s  {} left  {step}  epoch {:.2}",
        progress.loss_nats,
        progress.bits_per_byte,
        rounded(progress.tokens_per_second),
        duration(progress.seconds_left),
        progress.epoch
    )
}

/// The lines that an event is told in.
fn told(event: &Event<'_>) -> Vec<String> {
    match event {
        Event::Tokenized { role, text, bytes, tokens, vocab_size, seconds } => vec![format!(
            "{role}: {text}, {} bytes, {} tokens, vocabulary {} ({})",
            grouped(*bytes),
            grouped(*tokens),
            grouped(*vocab_size as u64),
            duration(*seconds)
        )],
        Event::Chosen { choices, .. } => choices
            .iter()
            .map(|choice| format!("chosen: {} {} ({})", choice.name, choice.value, choice.reason))
            .collect(),
        Event::Rehearsing { seconds } => {
            vec![format!("rehearsing for {}, to see how the run will end", duration(*seconds))]
        }
        Event::Forecast(forecast) => vec![format!(
            "forecast: {:.3} bits/byte in the end (a rehearsal of {} came to {:.3})",
            forecast.bits_per_byte,
            duration(forecast.rehearsed_seconds),
            forecast.rehearsed_bits_per_byte
        )],
        Event::Started {
            recipe, parameters, flops_per_token, resumed_step, isa, threads, ..
        } => {
            let resumed = resumed_step.map(|step| format!("resumed at step {}", grouped(step)));
            let begun = format!(
                "{}: {} parameters, {} floating-point operations a token; {} at {}; {isa} on {threads} {}; seed {}",
                recipe.cell,
                rounded(*parameters as f64),
                rounded(*flops_per_token as f64),
                recipe.optimizer,
                recipe.learning_rate,
                if *threads == 1 { "thread" } else { "threads" },
                recipe.seed
            );
            resumed.into_iter().chain([begun]).collect()
        }
        Event::Validated { step, loss_nats, bits_per_byte, is_best } => vec![format!(
            "step {}: validation {loss_nats:.4}, {bits_per_byte:.3} bits/byte{}",
            grouped(*step),
            if *is_best { "" } else { " (not the best)" }
        )],
        Event::Sampled { step, text } => vec![sample(*step, text)],
        Event::Warned { message } => vec![format!("warning: {message}")],
        Event::Stopped { step, reason } => match reason {
            StopReason::Interrupted { out } => vec![
                format!("interrupted at step {}: saved in `{}`", grouped(*step), out.display()),
                "go on with the same command and `--resume`".to_owned(),
            ],
            StopReason::NoImprovement { validations } => {
                vec![format!(
                    "stopped at step {}: no improvement in {validations} validations",
                    grouped(*step)
                )]
            }
            _ => Vec::new(),
        },
        Event::Scored { role, score } => {
            vec![format!("{role}: {score}"), format!("{role}: {}", score.signature)]
        }
        _ => Vec::new(),
    }
}

/// The beginning of what the model wrote, set off from everything else; what would move the cursor, or worse, as �.
fn sample(step: u64, text: &str) -> String {
    let shown = |c: char| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c };
    let beginning: String =
        text.replace("\r\n", "\n").chars().take(SAMPLE_CHARS).map(shown).collect();
    let lines: String = beginning.trim_end().lines().map(|line| format!("  | {line}\n")).collect();
    format!("step {}, the model writes:\n{}", grouped(step), lines.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_one_line() {
        let progress = Progress {
            step: 1200,
            steps_total: Some(2000),
            epoch: 0.6,
            fraction: 0.6,
            loss_nats: 1.5,
            bits_per_byte: 2.164,
            tokens_per_second: 12345.0,
            seconds_left: 75.0,
            learning_rate: 0.01,
            gradient_norm: 0.3,
        };
        let expected = "loss 1.5000  2.164 bits/byte  12.3 k tokens/s  1 min 15 s left  step 1,200 of 2,000  epoch 0.60";
        assert_eq!(position(&progress), expected);
    }

    #[test]
    fn a_sample_is_set_off_and_cut() {
        let text = format!("one\ntwo\n{}", "字".repeat(1000));
        let shown = sample(7, &text);
        assert!(shown.starts_with("step 7, the model writes:\n  | one\n  | two\n  | 字"));
        assert_eq!(shown.matches('字').count(), SAMPLE_CHARS - "one\ntwo\n".len());
        let shown = sample(7, "a\r\nb\rc\t\u{1b}[2J");
        assert_eq!(shown, "step 7, the model writes:\n  | a\n  | b�c\t�[2J");
    }
}
