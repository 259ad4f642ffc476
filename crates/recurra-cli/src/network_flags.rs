//! The flags of what a network can be told beyond its widths.

use std::str::FromStr as _;

use clap::Args;
use recurra::models::{
    ActivationKind, CellKind, CellOptions, NormKind, PositionKind, Regularization,
};
use recurra::train::CHOSEN_FAMILIES;

use crate::failure::Failure;
use crate::values::{self, Parsed, ValueError, nearest};

/// Declares [`NetworkFlags`] in the parts that the library has of them: the flags of a part, each with its type here and, where the
/// library has another, that one; how they are laid over each other; and how they become the part.
macro_rules! flags {
    ($(
        $(#[$part_doc:meta])*
        $part:ident: $options:ident {
            $($(#[$attribute:meta])* $flag:ident: $type:ty $(as $theirs:ty)?,)*
        }
    )*) => {
        /// What single families know, and kinds of dropout. Whatever is not given is as the family has it.
        #[derive(Args, Clone, Copy, Debug, Default, PartialEq)]
        pub struct NetworkFlags {
            $($($(#[$attribute])* pub $flag: Option<$type>,)*)*
        }

        impl NetworkFlags {
            /// These flags, and where one is not given, that of `below`.
            pub fn over(self, below: NetworkFlags) -> NetworkFlags {
                NetworkFlags { $($($flag: self.$flag.or(below.$flag),)*)* }
            }

            /// These flags without those that other families know and `cell` does not.
            pub fn known_to(self, cell: CellKind) -> NetworkFlags {
                let knows = |kind: CellKind, name: &str| kind.options().contains(&name);
                let is_kept = |name: &str| {
                    knows(cell, name) || !CellKind::ALL.into_iter().any(|kind| knows(kind, name))
                };
                NetworkFlags { $($($flag: self.$flag.filter(|_| is_kept(stringify!($flag))),)*)* }
            }

            $(
                $(#[$part_doc])*
                pub fn $part(&self) -> $options {
                    $options { $($flag: self.$flag$(.map(|value| value as $theirs))?,)* }
                }
            )*
        }
    };
}

flags! {
    /// The options of the cell.
    cell_options: CellOptions {
        /// Added to the bias of the forget gate at the start [default: 1 of lstm and mogrifier, 0 of qrnn, sru, min-gru, min-lstm]
        #[arg(long, value_parser = values::bias, allow_negative_numbers = true, value_name = "F")]
        forget_bias: f64 as f32,
        /// Share of recurrent weights dropped, the same for a whole window (weight-drop)
        #[arg(long, value_parser = values::rate, value_name = "F")]
        weight_dropout: f64 as f32,
        /// Cap an LSTM's input gate at 1 − its forget gate: i = min(i, 1 − f), not i = 1 − f (--coupled=false: do not)
        #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_possible_values = true)]
        coupled: bool,
        /// Dropout of an LSTM's state before its recurrent weights, the same for a whole window
        #[arg(long, value_parser = values::rate, value_name = "F")]
        state_dropout: f64 as f32,
        /// Give the output layer the sum of all layers' outputs, not the last one's alone (--summed-outputs=false: do not)
        #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_possible_values = true)]
        summed_outputs: bool,
        /// Rounds of a Mogrifier, in which input and state scale each other before a step [default: 5]
        #[arg(long, value_parser = values::size::<1, 8>, value_name = "N")]
        rounds: usize,
        /// Rank of a Mogrifier's matrices Q and R [default: full]
        #[arg(long, value_parser = values::size::<1, 65536>, value_name = "N")]
        rank: usize,
        /// Heads of a layer [default: one for each 64 values of a Transformer's width, 4 of slstm and mlstm]
        #[arg(long, value_parser = values::size::<1, 65536>, value_name = "N")]
        heads: usize,
        /// Positions a Transformer sees at most [default: 256]
        #[arg(long, value_parser = values::size::<1, 1048576>, value_name = "N")]
        context: usize,
        /// Inner width of a feed-forward part [default: 8/3 of a Transformer's width, 4 times with gelu; of slstm 4/3]
        #[arg(long, value_parser = values::size::<1, 65536>, value_name = "N")]
        feed_forward: usize,
        /// How a Transformer normalises; layer norm brings biases [default: rms]
        #[arg(long, value_parser = NormKind::from_str, value_name = "rms|layer")]
        norm: NormKind,
        /// How a Transformer tells positions [default: rotary; learned with layer norm]
        #[arg(long, value_parser = PositionKind::from_str, value_name = "rotary|learned")]
        positions: PositionKind,
        /// What stands within a Transformer's feed-forward part [default: swiglu; gelu with layer norm]
        #[arg(long, value_parser = ActivationKind::from_str, value_name = "swiglu|gelu")]
        activation: ActivationKind,
        /// How many inputs a gate of a QRNN sees, the present one among them [default: 2]
        #[arg(long, value_parser = values::size::<1, 64>, value_name = "N")]
        filter_width: usize,
        /// Initial bias of an SRU's highway gate; below 0, more of the input passes by [default: 0]
        #[arg(long, value_parser = values::bias, allow_negative_numbers = true, value_name = "F")]
        highway_bias: f64 as f32,
    }

    /// What keeps the network from learning by heart.
    regularization: Regularization {
        /// Share of words dropped in a window
        #[arg(long, value_parser = values::rate, value_name = "F")]
        word_dropout: f64 as f32,
        /// Dropout on the input of the first layer [default: --dropout]
        #[arg(long, value_parser = values::rate, value_name = "F")]
        input_dropout: f64 as f32,
        /// Dropout between layers, or of what layers with residual links add to these [default: --dropout]
        #[arg(long, value_parser = values::rate, value_name = "F")]
        layer_dropout: f64 as f32,
        /// Dropout on the output of the last layer [default: --dropout; 0 with residual links]
        #[arg(long, value_parser = values::rate, value_name = "F")]
        output_dropout: f64 as f32,
        /// Let a stream keep its dropout masks for a whole window
        #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_possible_values = true)]
        locked_dropout: bool,
        /// Factor of the mean square of what the last layer hands up, after dropout
        #[arg(long, value_parser = values::decay, value_name = "F")]
        activation_penalty: f64 as f32,
        /// Factor of the mean square of how much what the last layer hands up, before dropout, changes from token to token
        #[arg(long, value_parser = values::decay, value_name = "F")]
        temporal_penalty: f64 as f32,
    }
}

impl NetworkFlags {
    /// The family: the one that is given, or of those that are chosen where none is the first that knows what is asked for.
    ///
    /// # Errors
    /// What that family, or all of them, do not know.
    pub fn family(&self, given: Option<CellKind>) -> Result<CellKind, Failure> {
        let families = given.map_or(CHOSEN_FAMILIES.to_vec(), |cell| vec![cell]);
        let options = self.cell_options();
        if let Some(cell) = families.iter().find(|cell| cell.unknown(&options).is_empty()) {
            return Ok(*cell);
        }
        let cell = families[0];
        let (name, _) = cell.unknown(&options).swap_remove(0);
        let knows = |kind: &CellKind| kind.options().contains(&name);
        let kinds: Vec<_> = CellKind::ALL.into_iter().filter(knows).map(CellKind::name).collect();
        let (kind, all) = (kinds[0], kinds.join(", "));
        Err(Failure::of_arguments(
            format!("`--{}` means nothing to `--model {cell}`", name.replace('_', "-")),
            match given {
                Some(_) => format!("leave it out; it is for {all}"),
                None => format!("add `--model {kind}`, or leave it out; it is for {all}"),
            },
        ))
    }
}

/// What `--model` says of itself.
pub fn model_help(default: &str) -> String {
    let all = CellKind::ALL.map(CellKind::name).join(", ");
    format!("Kind of network: {all} [default: {default}]")
}

/// The value of `--model`.
pub fn cell(text: &str) -> Parsed<CellKind> {
    let names = || CellKind::ALL.map(CellKind::name);
    text.parse().map_err(|_| ValueError {
        expected: names().join(", "),
        hint: nearest(text, names()).map(|near| format!("did you mean `{near}`?")),
    })
}
