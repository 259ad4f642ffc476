//! The flags of what a network can be told beyond its widths.

use clap::Args;
use recurra::models::{
    ActivationKind, CellKind, CellOptions, NormKind, PositionKind, Regularization,
};
use std::str::FromStr as _;

use crate::failure::Failure;
use crate::values::{self, Parsed, ValueError, nearest};

/// What single families know, and kinds of dropout. Whatever is not given is as the family has it.
#[derive(Args, Clone, Copy, Debug, Default, PartialEq)]
pub struct NetworkFlags {
    /// Initial bias of the forget gate [default: 1 for an LSTM, 0 for others]
    #[arg(long, value_parser = values::bias, allow_negative_numbers = true, value_name = "F")]
    pub forget_bias: Option<f64>,
    /// Share of recurrent weights dropped, the same for a whole window (weight-drop)
    #[arg(long, value_parser = values::below_one, value_name = "F")]
    pub weight_dropout: Option<f64>,
    /// Let an LSTM's input gate let in no more than it forgets (--coupled=false: do not)
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_possible_values = true)]
    pub coupled: Option<bool>,
    /// Dropout of an LSTM's state before its recurrent weights, the same for a whole window
    #[arg(long, value_parser = values::below_one, value_name = "F")]
    pub state_dropout: Option<f64>,
    /// Read the sum of what all layers hand up, not the last alone (--summed-outputs=false: do not)
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_possible_values = true)]
    pub summed_outputs: Option<bool>,
    /// Rounds in which input and state of a Mogrifier scale each other before a step [default: 5]
    #[arg(long, value_parser = values::size::<1, 8>, value_name = "N")]
    pub rounds: Option<usize>,
    /// Rank of the matrices by which they do [default: full]
    #[arg(long, value_parser = values::size::<1, 65536>, value_name = "N")]
    pub rank: Option<usize>,
    /// Heads of a layer [default: one for each 64 values of a Transformer's width, 4 of slstm and mlstm]
    #[arg(long, value_parser = values::size::<1, 65536>, value_name = "N")]
    pub heads: Option<usize>,
    /// Positions a Transformer sees at most [default: 256]
    #[arg(long, value_parser = values::size::<1, 1048576>, value_name = "N")]
    pub context: Option<usize>,
    /// Inner width of a feed-forward part [default: 8/3 of a Transformer's width, 4 times with gelu; of slstm 4/3]
    #[arg(long, value_parser = values::size::<1, 65536>, value_name = "N")]
    pub feed_forward: Option<usize>,
    /// How a Transformer normalises; layer norm brings biases [default: rms]
    #[arg(long, value_parser = NormKind::from_str, value_name = "rms|layer")]
    pub norm: Option<NormKind>,
    /// How a Transformer tells positions [default: rotary; learned with layer norm]
    #[arg(long, value_parser = PositionKind::from_str, value_name = "rotary|learned")]
    pub positions: Option<PositionKind>,
    /// What stands within a Transformer's feed-forward part [default: swiglu; gelu with layer norm]
    #[arg(long, value_parser = ActivationKind::from_str, value_name = "swiglu|gelu")]
    pub activation: Option<ActivationKind>,
    /// How many inputs a gate of a QRNN sees, the present one among them [default: 2]
    #[arg(long, value_parser = values::size::<1, 64>, value_name = "N")]
    pub window: Option<usize>,
    /// Initial bias of an SRU's highway gate; below 0, more of the input passes by [default: 0]
    #[arg(long, value_parser = values::bias, allow_negative_numbers = true, value_name = "F")]
    pub highway_bias: Option<f64>,
    /// Share of words dropped in a window
    #[arg(long, value_parser = values::below_one, value_name = "F")]
    pub word_dropout: Option<f64>,
    /// Dropout on the input of the first layer [default: --dropout]
    #[arg(long, value_parser = values::below_one, value_name = "F")]
    pub input_dropout: Option<f64>,
    /// Dropout between layers [default: --dropout]
    #[arg(long, value_parser = values::below_one, value_name = "F")]
    pub layer_dropout: Option<f64>,
    /// Dropout on the output of the last layer [default: --dropout]
    #[arg(long, value_parser = values::below_one, value_name = "F")]
    pub output_dropout: Option<f64>,
    /// Let a stream keep its dropout masks for a whole window
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_possible_values = true)]
    pub locked_dropout: Option<bool>,
    /// Factor of the mean square of what the last layer hands up, after dropout
    #[arg(long, value_parser = values::decay, value_name = "F")]
    pub activation_penalty: Option<f64>,
    /// Factor of the mean square of how much that changes from token to token
    #[arg(long, value_parser = values::decay, value_name = "F")]
    pub temporal_penalty: Option<f64>,
}

impl NetworkFlags {
    /// These flags, and where one is not given, that of `below`.
    pub fn over(self, below: NetworkFlags) -> NetworkFlags {
        NetworkFlags {
            forget_bias: self.forget_bias.or(below.forget_bias),
            weight_dropout: self.weight_dropout.or(below.weight_dropout),
            coupled: self.coupled.or(below.coupled),
            state_dropout: self.state_dropout.or(below.state_dropout),
            summed_outputs: self.summed_outputs.or(below.summed_outputs),
            rounds: self.rounds.or(below.rounds),
            rank: self.rank.or(below.rank),
            heads: self.heads.or(below.heads),
            context: self.context.or(below.context),
            feed_forward: self.feed_forward.or(below.feed_forward),
            norm: self.norm.or(below.norm),
            positions: self.positions.or(below.positions),
            activation: self.activation.or(below.activation),
            window: self.window.or(below.window),
            highway_bias: self.highway_bias.or(below.highway_bias),
            word_dropout: self.word_dropout.or(below.word_dropout),
            input_dropout: self.input_dropout.or(below.input_dropout),
            layer_dropout: self.layer_dropout.or(below.layer_dropout),
            output_dropout: self.output_dropout.or(below.output_dropout),
            locked_dropout: self.locked_dropout.or(below.locked_dropout),
            activation_penalty: self.activation_penalty.or(below.activation_penalty),
            temporal_penalty: self.temporal_penalty.or(below.temporal_penalty),
        }
    }

    /// The options of the cell.
    pub fn cell_options(&self) -> CellOptions {
        let number = |value: Option<f64>| value.map(|value| value as f32);
        CellOptions {
            forget_bias: number(self.forget_bias),
            weight_dropout: number(self.weight_dropout),
            coupled: self.coupled,
            state_dropout: number(self.state_dropout),
            summed_outputs: self.summed_outputs,
            rounds: self.rounds,
            rank: self.rank,
            heads: self.heads,
            context: self.context,
            feed_forward: self.feed_forward,
            norm: self.norm,
            positions: self.positions,
            activation: self.activation,
            window: self.window,
            highway_bias: number(self.highway_bias),
        }
    }

    /// What keeps the network from learning by heart.
    pub fn regularization(&self) -> Regularization {
        let number = |value: Option<f64>| value.map(|value| value as f32);
        Regularization {
            word_dropout: number(self.word_dropout),
            input_dropout: number(self.input_dropout),
            layer_dropout: number(self.layer_dropout),
            output_dropout: number(self.output_dropout),
            locked_dropout: self.locked_dropout,
            activation_penalty: number(self.activation_penalty),
            temporal_penalty: number(self.temporal_penalty),
        }
    }

    /// Refuses what the cell does not know.
    pub fn check(&self, cell: CellKind) -> Result<(), Failure> {
        let flag = |name: &str| format!("`--{}`", name.replace('_', "-"));
        let unknown = |(name, _): &(&'static str, String)| !cell.options().contains(name);
        let Some((name, _)) = self.cell_options().given().into_iter().find(unknown) else {
            return Ok(());
        };
        let knows = |kind: &CellKind| kind.options().contains(&name);
        let kinds = CellKind::ALL.into_iter().filter(knows).map(CellKind::name);
        Err(Failure::of_arguments(
            format!("{} means nothing to `--model {cell}`", flag(name)),
            format!("leave it out; it is for {}", kinds.collect::<Vec<_>>().join(", ")),
        ))
    }
}

/// What `--model` says of itself.
pub fn model_help() -> String {
    format!("Kind of network: {} [default: lstm]", CellKind::ALL.map(CellKind::name).join(", "))
}

/// The value of `--model`.
pub fn cell(text: &str) -> Parsed<CellKind> {
    let names = || CellKind::ALL.map(CellKind::name);
    text.parse().map_err(|_| ValueError {
        expected: names().join(", "),
        hint: nearest(text, names()).map(|near| format!("did you mean `{near}`?")),
    })
}
