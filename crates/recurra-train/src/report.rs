//! What a run came to: the one JSON object of `recurra train --json`.

use recurra_inference::Kept;
use recurra_metrics::LanguageScore;
use serde::{Serialize, Serializer};

use crate::observer::StopReason;

/// The outcome of a run. Serialised, it has the keys of the command line's contract; what is not known is `null`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The model folder.
    pub out: String,
    /// Updates.
    pub steps: u64,
    /// Tokens trained on, repetitions counted.
    pub tokens: u64,
    /// Wall clock of everything, pauses between resumed parts left out.
    pub seconds: f64,
    /// Tokens a second of the updates alone.
    pub tokens_per_second: f64,
    /// The bits a byte that were forecast before the first update, if it could be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forecast_bits_per_byte: Option<f64>,
    /// Mean training loss a token since the last validation but one.
    pub train_loss_nats: Option<f64>,
    /// Validation loss a token of the best weights.
    pub valid_loss_nats: Option<f64>,
    /// The exponential of it.
    pub valid_perplexity: Option<f64>,
    /// The same loss in bits a byte of text.
    pub valid_bits_per_byte: Option<f64>,
    /// The part of the validation text that was scored, where a budget did not reach for all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_text_part: Option<f64>,
    /// Whether the validation's numbers are those of the best one on the way, many streams at once and perhaps of a part of the
    /// text, as nothing was scored after the run.
    #[serde(skip_serializing_if = "is_false")]
    pub valid_on_the_way: bool,
    /// Test loss a token of the best weights, if a test text was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_loss_nats: Option<f64>,
    /// The exponential of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_perplexity: Option<f64>,
    /// The same loss in bits a byte of text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_bits_per_byte: Option<f64>,
    /// What a perfect model would need for the validation text, if it is the storybook.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub true_bits_per_byte: Option<f64>,
    /// How far above that the model is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excess_bits_per_byte: Option<f64>,
    /// What the model keeps of stories over 10, 50 and 200 words, if it learned from the storybook.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kept_dependencies: Vec<Kept>,
    /// Numbers that were learned.
    pub parameters: u64,
    /// Precision of the arithmetic.
    pub precision: String,
    /// Instruction set of the kernels.
    pub isa: String,
    /// Threads.
    pub threads: usize,
    /// Seed.
    pub seed: u64,
    /// Identity of the last weights: names, shapes and numbers.
    pub weights_sha256: String,
    /// Why the run ended: `no-improvement` or `interrupted`; left out of the JSON of a run that came to its end.
    #[serde(skip_serializing_if = "is_finished", serialize_with = "named")]
    pub stop_reason: StopReason,
    /// The validation score, of which the JSON has the signature beside the numbers above; `None` when the run was interrupted before it.
    #[serde(
        rename = "valid_signature",
        skip_serializing_if = "Option::is_none",
        serialize_with = "signature"
    )]
    pub valid_score: Option<LanguageScore>,
    /// The test score, likewise.
    #[serde(
        rename = "test_signature",
        skip_serializing_if = "Option::is_none",
        serialize_with = "signature"
    )]
    pub test_score: Option<LanguageScore>,
}

fn is_false(value: &bool) -> bool {
    !value
}

fn signature<S: Serializer>(
    score: &Option<LanguageScore>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    score.as_ref().map(|score| score.signature.to_string()).serialize(serializer)
}

fn is_finished(reason: &StopReason) -> bool {
    *reason == StopReason::Finished
}

fn named<S: Serializer>(reason: &StopReason, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match reason {
        StopReason::Finished => "finished",
        StopReason::NoImprovement { .. } => "no-improvement",
        StopReason::Interrupted { .. } => "interrupted",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_are_those_of_the_contract() {
        let report = Report {
            out: "runs/a".to_owned(),
            steps: 1,
            tokens: 2,
            seconds: 3.0,
            tokens_per_second: 4.0,
            forecast_bits_per_byte: None,
            train_loss_nats: Some(f64::NAN),
            valid_loss_nats: None,
            valid_perplexity: None,
            valid_bits_per_byte: None,
            valid_text_part: None,
            valid_on_the_way: false,
            test_loss_nats: None,
            test_perplexity: None,
            test_bits_per_byte: None,
            true_bits_per_byte: None,
            excess_bits_per_byte: None,
            kept_dependencies: vec![],
            parameters: 5,
            precision: "f32".to_owned(),
            isa: "plain".to_owned(),
            threads: 1,
            seed: 1,
            weights_sha256: "ab".to_owned(),
            stop_reason: StopReason::Finished,
            valid_score: None,
            test_score: None,
        };
        let json = serde_json::to_value(&report).unwrap();
        let mut keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        let mut contract: Vec<&str> = "out steps tokens seconds tokens_per_second train_loss_nats valid_loss_nats valid_perplexity \
             valid_bits_per_byte parameters precision isa threads seed weights_sha256"
            .split_whitespace()
            .collect();
        keys.sort_unstable();
        contract.sort_unstable();
        assert_eq!(keys, contract);
        assert!(json["train_loss_nats"].is_null());
        let out = "runs/a".into();
        let stopped = Report {
            stop_reason: StopReason::Interrupted { out },
            valid_on_the_way: true,
            ..report
        };
        let json = serde_json::to_value(&stopped).unwrap();
        assert_eq!(
            (&json["stop_reason"], &json["valid_on_the_way"]),
            (&"interrupted".into(), &true.into())
        );
    }
}
