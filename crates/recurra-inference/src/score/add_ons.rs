//! What helps a model to a better score without training: each is a part of the score's signature.

use serde::Serialize;

use crate::{Error, Result};

/// What a text is scored with beside the model. Without any of it the score is the plain one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct AddOns {
    /// What logits are divided by before the softmax; tuned on a validation text it corrects a model that is too sure or not
    /// sure enough (Melis et al. 2018).
    pub temperature: Option<f64>,
}

impl AddOns {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Refuses numbers that make no sense.
    ///
    /// # Errors
    /// [`Error::Setting`] with what would do.
    pub fn check(&self) -> Result<()> {
        let temperature = self.temperature.unwrap_or(1.0);
        check("temperature", temperature, (0.1..=10.0).contains(&temperature), "0.1 to 10")
    }

    /// The temperature that is scored at.
    pub(super) fn temperature(&self) -> f64 {
        self.temperature.unwrap_or(1.0)
    }
}

/// Refuses a number that is not good.
pub(super) fn check(
    name: &'static str,
    found: impl ToString,
    is_good: bool,
    expected: &'static str,
) -> Result<()> {
    match is_good {
        true => Ok(()),
        false => Err(Error::Setting { name, found: found.to_string(), expected }),
    }
}
