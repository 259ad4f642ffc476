//! What a network can be told beyond its widths, each of it optional.

use serde::{Deserialize, Serialize};

use crate::{ActivationKind, NormKind, PositionKind};

/// Declares a struct of settings that may be left open, how they are laid over each other, and how they are named.
macro_rules! options {
    ($(#[$doc:meta])* $struct:ident { $($(#[$field_doc:meta])* $name:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct $struct {
            $(
                $(#[$field_doc])*
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $name: Option<$type>,
            )*
        }

        impl $struct {
            /// These, and where one is not given, that of `below`.
            #[must_use]
            pub fn or(self, below: Self) -> Self {
                Self { $($name: self.$name.or(below.$name),)* }
            }

            /// Name and value of those that are given.
            pub fn given(&self) -> Vec<(&'static str, String)> {
                let all = [$((stringify!($name), self.$name.map(|value| value.to_string())),)*];
                all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
            }
        }
    };
}

options! {
    /// Settings of single families; what is `None` is the family's own default.
    CellOptions {
        /// Added to the bias of the forget gate at the start; by default 1 for an LSTM and a Mogrifier, 0 for a QRNN, an
        /// SRU, a minGRU and a minLSTM.
        forget_bias: f32,
        /// The rate at which recurrent weights are dropped, the same ones for a whole window (weight-drop, Merity et al.
        /// 2018); by default 0.
        weight_dropout: f32,
        /// Whether an LSTM's input gate lets in no more than 1 − f (Melis, Dyer and Blunsom 2018); by default not.
        coupled: bool,
        /// The rate at which an LSTM's state is dropped before the recurrent weights see it, the same units for a whole window
        /// (Gal and Ghahramani 2016); by default 0.
        state_dropout: f32,
        /// Whether the sum of what all layers hand up goes on from the last, which all are as wide as (Melis, Dyer and Blunsom
        /// 2018); by default what the last hands up.
        summed_outputs: bool,
        /// How often input and state of a Mogrifier scale each other before a step; by default 5.
        rounds: usize,
        /// The rank of the matrices by which they do, which are products of two then; by default full.
        rank: usize,
        /// How many heads a layer is divided into; by default one for each 64 values of a Transformer's width, and four of an
        /// xLSTM block where they divide its width, else one.
        heads: usize,
        /// How many positions a Transformer sees at most; by default 256.
        context: usize,
        /// How wide the feed-forward part of a block is within; by default 4 times a Transformer's width, 8/3 with a gate, and what
        /// its paper says of an xLSTM block.
        feed_forward: usize,
        /// How a Transformer normalises; by default `rms`. `layer` brings biases.
        norm: NormKind,
        /// How a Transformer tells positions; by default `rotary` with `rms`, else `learned`.
        positions: PositionKind,
        /// What stands within a Transformer's feed-forward part; by default `swiglu` with `rms`, else `gelu`.
        activation: ActivationKind,
        /// k: how many inputs a gate of a QRNN sees, the present one among them; by default 2.
        filter_width: usize,
        /// The bias of an SRU's highway gate at the start; by default 0, and below it more of the input passes by.
        highway_bias: f32,
    }
}

options! {
    /// What keeps a network from learning its text by heart, beside the one rate of dropout for all links; whatever is `None`
    /// has that rate, or is not done.
    Regularization {
        /// The rate at which words are dropped: their rows of the embedding, for a whole window (Gal and Ghahramani 2016).
        word_dropout: f32,
        /// The rate on the input of the first layer.
        input_dropout: f32,
        /// The rate between layers; where layers have residual links, of what each of them adds to those.
        layer_dropout: f32,
        /// The rate on the output of the last layer; where layers have residual links, 0 if not given.
        output_dropout: f32,
        /// Whether a stream keeps its masks for a whole window (variational dropout, Gal and Ghahramani 2016).
        locked_dropout: bool,
        /// α of the activation penalty α·mean(h²) on the last layer's dropped output (Merity et al. 2017).
        activation_penalty: f32,
        /// β of the temporal penalty β·mean((h_t − h_{t−1})²) on the last layer's output before dropout (likewise).
        temporal_penalty: f32,
    }
}
