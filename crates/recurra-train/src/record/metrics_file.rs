//! `metrics.jsonl`: one JSON object a line, appended as the run goes, in step order.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// A line of the file.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Measurement {
    /// The mean over the steps since the line before.
    Train {
        /// Updates so far.
        step: u64,
        /// Passes over the text, with a fraction.
        epoch: f64,
        /// Tokens trained on so far.
        tokens: u64,
        /// Wall clock since the start, pauses between resumed parts left out.
        seconds: f64,
        /// Loss a token.
        loss_nats: f64,
        /// The same in bits a byte of text.
        bits_per_byte: f64,
        /// The rate of the last step.
        learning_rate: f64,
        /// Global norm of the last gradient, before clipping.
        gradient_norm: f64,
        /// Speed over the steps since the line before.
        tokens_per_second: f64,
    },
    /// A validation.
    Valid {
        /// Updates so far.
        step: u64,
        /// Passes over the text, with a fraction.
        epoch: f64,
        /// Tokens trained on so far; `None` in a record from before this was written.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tokens: Option<u64>,
        /// Wall clock since the start.
        seconds: f64,
        /// Loss a token.
        loss_nats: f64,
        /// The same in bits a byte of text.
        bits_per_byte: f64,
        /// The part of the validation text that was read; `None` in a record from before this was written.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text_part: Option<f64>,
        /// Whether it is the best so far.
        is_best: bool,
    },
}

impl Measurement {
    /// The step that it was measured at.
    pub fn step(&self) -> u64 {
        match self {
            Measurement::Train { step, .. } | Measurement::Valid { step, .. } => *step,
        }
    }
}

/// The file, open at its end.
#[derive(Debug)]
pub struct MetricsFile {
    file: File,
}

/// A longer line is not one of ours.
const LONGEST_LINE: u64 = 16 * 1024;

impl MetricsFile {
    /// Begins a new file in place of one that may be there.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn create(path: &Path) -> io::Result<MetricsFile> {
        Ok(MetricsFile { file: File::create(path)? })
    }

    /// Opens the file to go on after `last_step`: later lines are removed, and all from one that was cut off or damaged.
    ///
    /// # Errors
    /// Whatever the file system says; a missing file is begun anew.
    pub fn resume(path: &Path, last_step: u64) -> io::Result<MetricsFile> {
        let file =
            OpenOptions::new().create(true).truncate(false).read(true).append(true).open(path)?;
        let mut kept = 0;
        for_each_line(&file, |line, measurement| {
            let keeps = measurement.step() <= last_step;
            kept += if keeps { line.len() as u64 } else { 0 };
            keeps
        })?;
        file.set_len(kept)?;
        Ok(MetricsFile { file })
    }

    /// Writes one line. Nothing is buffered: what was appended is in the file even if the process is killed.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn append(&mut self, measurement: &Measurement) -> io::Result<()> {
        let mut line = serde_json::to_vec(measurement)?;
        line.push(b'\n');
        self.file.write_all(&line)
    }
}

/// All measurements of a file, up to the first damaged line.
///
/// # Errors
/// Whatever the file system says.
pub fn read_measurements(path: &Path) -> io::Result<Vec<Measurement>> {
    read_record(path).map(|record| record.measurements)
}

/// What a file holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Record {
    /// All measurements up to the first damaged line.
    pub measurements: Vec<Measurement>,
    /// The first whole line that is no measurement, counted from 1. A last line that was cut off is none: a run may be
    /// writing it.
    pub damaged_line: Option<usize>,
}

/// All measurements of a file, up to the first damaged line, and where that is.
///
/// # Errors
/// Whatever the file system says.
pub(crate) fn read_record(path: &Path) -> io::Result<Record> {
    let mut measurements = Vec::new();
    let ended_by = for_each_line(&File::open(path)?, |_, measurement| {
        measurements.push(measurement);
        true
    })?;
    let damaged_line = ended_by.is_whole.then_some(measurements.len() + 1);
    Ok(Record { measurements, damaged_line })
}

/// The line that ended the reading.
struct LastLine {
    /// Whether it has its end.
    is_whole: bool,
}

/// Calls `f` with every whole line and what it says, until `f` or a damaged line ends it.
fn for_each_line(
    file: &File,
    mut f: impl FnMut(&[u8], Measurement) -> bool,
) -> io::Result<LastLine> {
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    loop {
        line.clear();
        reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)?;
        let is_whole = line.ends_with(b"\n") || line.len() as u64 == LONGEST_LINE;
        match serde_json::from_slice(&line) {
            Ok(measurement) if line.ends_with(b"\n") && f(&line, measurement) => {}
            _ => return Ok(LastLine { is_whole }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid(step: u64) -> Measurement {
        Measurement::Valid {
            step,
            epoch: 0.1,
            tokens: Some(10 * step),
            seconds: 1.0 / 3.0,
            loss_nats: 2.5,
            bits_per_byte: 3.6,
            text_part: Some(0.5),
            is_best: step == 1,
        }
    }

    #[test]
    fn a_line_is_what_people_expect_to_parse() {
        let json = serde_json::to_string(&valid(3)).unwrap();
        assert_eq!(
            json,
            r#"{"event":"valid","step":3,"epoch":0.1,"tokens":30,"seconds":0.3333333333333333,"loss_nats":2.5,"bits_per_byte":3.6,"text_part":0.5,"is_best":false}"#
        );
    }

    #[test]
    fn a_line_from_before_tokens_and_part_were_written_still_reads() {
        let line = r#"{"event":"valid","step":3,"epoch":0.1,"seconds":1,"loss_nats":2.5,"bits_per_byte":3.6,"is_best":true}"#;
        let Ok(Measurement::Valid { step: 3, tokens: None, text_part: None, .. }) =
            serde_json::from_str(line)
        else {
            panic!("it was not read as it is")
        };
    }

    #[test]
    fn a_damaged_line_is_told_from_one_that_is_being_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let good = serde_json::to_string(&valid(1)).unwrap();
        for (text, expected) in [
            (String::new(), (0, None)),
            (format!("{good}\n"), (1, None)),
            (format!("{good}\n{good}"), (1, None)),
            (format!("{good}\n{}", &good[..20]), (1, None)),
            (format!("{good}\n{}\n{good}\n", &good[..20]), (1, Some(2))),
            (format!("{good}\n\n{good}\n"), (1, Some(2))),
            ("x".repeat(100_000), (0, Some(1))),
        ] {
            std::fs::write(&path, text).unwrap();
            let record = read_record(&path).unwrap();
            assert_eq!((record.measurements.len(), record.damaged_line), expected);
        }
    }

    #[test]
    fn resuming_keeps_whole_lines_up_to_the_step() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut metrics = MetricsFile::create(&path).unwrap();
        for step in 1..=4 {
            metrics.append(&valid(step)).unwrap();
        }
        let whole = std::fs::read(&path).unwrap();
        let line_length = whole.iter().position(|&b| b == b'\n').unwrap() + 1;
        for cut in 0..=whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let mut metrics = MetricsFile::resume(&path, 2).unwrap();
            let n_kept = read_measurements(&path).unwrap().len();
            assert!(
                n_kept == 2 || (n_kept < 2 && cut < 2 * line_length + 2),
                "cut at {cut}: {n_kept}"
            );
            metrics.append(&valid(3)).unwrap();
            let steps: Vec<u64> =
                read_measurements(&path).unwrap().iter().map(Measurement::step).collect();
            assert_eq!(steps, [&[1, 2][..n_kept], &[3]].concat());
        }
    }
}
