//! What a run leaves behind for people: measurements, TensorBoard events, the loss curve and the model card.

mod curve;
mod metrics_file;
mod model_card;
mod tensorboard;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

pub use metrics_file::{Measurement, read_measurements};
pub(crate) use metrics_file::{Record, read_record};
pub use model_card::{CardText, ModelCard};

use crate::error::Error;
use metrics_file::MetricsFile;
use tensorboard::EventFile;

/// The file of measurements.
pub(crate) const METRICS: &str = "metrics.jsonl";
/// TensorBoard looks for `tfevents` in the name.
const EVENTS: &str = "events.out.tfevents.recurra";
const CURVE: &str = "loss.svg";

/// The files in a run's training folder that grow with it.
#[derive(Debug)]
pub struct Recorder {
    folder: PathBuf,
    metrics: MetricsFile,
    events: EventFile,
}

impl Recorder {
    /// Begins the record of a new run in `folder`.
    ///
    /// # Errors
    /// [`Error::Record`] when a file cannot be written.
    pub fn create(folder: &Path) -> Result<Recorder, Error> {
        let (metrics, events) = (folder.join(METRICS), folder.join(EVENTS));
        Ok(Recorder {
            folder: folder.to_owned(),
            metrics: MetricsFile::create(&metrics).map_err(record_error("write", &metrics))?,
            events: EventFile::create(&events, wall_time())
                .map_err(record_error("write", &events))?,
        })
    }

    /// Goes on with the record of a run that stood at `step`; whatever was recorded later is removed.
    ///
    /// # Errors
    /// [`Error::Record`] when a file cannot be read or written.
    pub fn resume(folder: &Path, step: u64) -> Result<Recorder, Error> {
        let (metrics, events) = (folder.join(METRICS), folder.join(EVENTS));
        Ok(Recorder {
            folder: folder.to_owned(),
            metrics: MetricsFile::resume(&metrics, step)
                .map_err(record_error("write", &metrics))?,
            events: EventFile::resume(&events, step, wall_time())
                .map_err(record_error("write", &events))?,
        })
    }

    /// Adds a measurement to both files.
    ///
    /// # Errors
    /// [`Error::Record`] when a file cannot be written.
    pub fn add(&mut self, measurement: &Measurement) -> Result<(), Error> {
        self.metrics
            .append(measurement)
            .map_err(record_error("write", &self.folder.join(METRICS)))?;
        let appended = match *measurement {
            Measurement::Train {
                step,
                loss_nats,
                bits_per_byte,
                learning_rate,
                gradient_norm,
                tokens_per_second,
                ..
            } => {
                let scalars = [
                    ("train/loss_nats", loss_nats),
                    ("train/bits_per_byte", bits_per_byte),
                    ("train/learning_rate", learning_rate),
                    ("train/gradient_norm", gradient_norm),
                    ("train/tokens_per_second", tokens_per_second),
                ];
                self.events.append(step, wall_time(), &scalars)
            }
            Measurement::Valid { step, loss_nats, bits_per_byte, .. } => {
                let scalars =
                    [("valid/loss_nats", loss_nats), ("valid/bits_per_byte", bits_per_byte)];
                self.events.append(step, wall_time(), &scalars)
            }
        };
        appended.map_err(record_error("write", &self.folder.join(EVENTS)))
    }

    /// Draws the loss curve from everything recorded so far; returns whether there was enough to draw.
    ///
    /// # Errors
    /// [`Error::Record`] when a file cannot be read or written.
    pub fn draw_curve(&self, title: &str) -> Result<bool, Error> {
        let (metrics, curve) = (self.folder.join(METRICS), self.folder.join(CURVE));
        let measurements = read_measurements(&metrics).map_err(record_error("read", &metrics))?;
        let Some(svg) = curve::draw(title, &measurements) else { return Ok(false) };
        fs::write(&curve, svg).map_err(record_error("write", &curve))?;
        Ok(true)
    }
}

fn record_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Record { action, path, source }
}

/// Seconds since 1970, as TensorBoard wants to know them.
fn wall_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
