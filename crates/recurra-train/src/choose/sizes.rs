//! How large a model, and an update of it, should be.

use recurra_metrics::readable::rounded;
use recurra_models::{CellKind, LanguageModelConfig};
use recurra_tensor::Window;

use super::{Choices, TextEstimate};
use crate::recipe::{Length, RecipeOptions};

/// Operations a second that are assumed before they are measured: what small models reach on two cores.
pub(super) const GUESSED_FLOPS: f64 = 240e9;

/// The part of a budget that goes into updates; the rest into validation and saving.
pub(crate) const UPDATES_SHARE: f64 = 0.9;

/// Hidden sizes to choose from: multiples of 32, so that every kernel's tiles are full.
const HIDDEN: [usize; 10] = [64, 96, 128, 192, 256, 320, 384, 512, 768, 1024];

/// The width from which there are two layers.
const DEEP: usize = 384;

/// Tokens that a run should see for each parameter, at least, before a larger model pays. Measured at equal arithmetic on
/// a character LSTM: 2.8 and 8.6 tokens a parameter learn equally well, 1.1 much worse.
const TOKENS_PER_PARAMETER: f64 = 5.0;
/// The same for words, most of whose parameters are those of single words. Measured at equal arithmetic on WikiText-2, tied:
/// 0.8 tokens a parameter came to perplexity 136, 3.4 to 142 and 0.3 to 152.
const TOKENS_PER_PARAMETER_OF_WORDS: f64 = 1.0;

/// Batch and bptt to choose from, the product doubling. At equal tokens, many small updates were measured to learn far
/// more than few large ones (character LSTM, 0.6 M tokens: 2.00 nats at 16 × 32, 2.20 at 32 × 64).
const WINDOWS: [(usize, usize); 5] = [(16, 32), (16, 64), (32, 64), (64, 64), (64, 128)];

/// What the storybook needs, whose stories come back to things settled long before: in 90 seconds 0.163 bits a byte; 0.184
/// with one layer of 128 and windows of 32.
const STORYBOOK_WINDOW: (usize, usize) = (16, 128);
const STORYBOOK_HIDDEN: usize = 256;

/// Updates that a run should have, at least, before each of them may be larger. Measured at equal tokens, 3 and 12 million, on
/// a character LSTM: 5,900 lose 0.3 % beside twice as many, 2,900 up to 1.9 %, 1,460 up to 3.6 %, 730 lose 8 %.
const UPDATES: f64 = 5000.0;

/// What a model and its updates measure.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sizes {
    pub batch: usize,
    pub bptt: usize,
    pub hidden: Vec<usize>,
    pub tied: bool,
    pub embed: usize,
}

impl Sizes {
    /// Before anything is decided.
    const UNKNOWN: Sizes = Sizes { batch: 1, bptt: 1, hidden: vec![], tied: false, embed: 0 };

    pub fn window(&self) -> Window {
        Window { time: self.bptt, batch: self.batch }
    }
}

/// What sizes follow from.
pub(super) struct Sizing<'a> {
    pub options: &'a RecipeOptions,
    pub text: &'a TextEstimate,
    pub length: Length,
    pub cell: CellKind,
}

impl Sizing<'_> {
    /// The sizes that were not given, for a machine that makes `flops` operations a second.
    pub fn sizes(&self, flops: f64, choices: &mut Choices) -> Sizes {
        let (batch, bptt) = self.window(flops, choices);
        let windowed = Sizes { batch, bptt, ..Sizes::UNKNOWN };
        let hidden = self.hidden(&windowed, flops, choices);
        let last = hidden.last().copied().unwrap_or(0);
        let tied = self.tied(last);
        if tied && self.options.tied.is_none() {
            choices.take(
                "tied",
                (),
                "true".to_owned(),
                "saves most of the weights of a large vocabulary",
            );
        }
        let embed = self.options.embed.unwrap_or_else(|| {
            let embed = embed_for(last, tied);
            let reason = match tied {
                true => "tied weights need the width of the last layer",
                false if self.text.is_large_vocabulary => {
                    "as much as most of a table's rows can fill"
                }
                false => "few symbols need few dimensions",
            };
            choices.take("embed", embed, embed.to_string(), reason)
        });
        Sizes { hidden, tied, embed, ..windowed }
    }

    /// A network of these sizes, as far as speed depends on it.
    pub fn network(&self, sizes: &Sizes) -> LanguageModelConfig {
        LanguageModelConfig {
            cell: self.cell,
            embed_size: sizes.embed,
            hidden_sizes: sizes.hidden.clone(),
            tied: sizes.tied,
            options: self.options.cell_options,
            ..LanguageModelConfig::new(self.text.vocabulary as usize)
        }
    }

    /// Tokens that a run of these sizes sees on a machine that makes `flops` operations a second.
    pub fn tokens_seen(&self, sizes: &Sizes, flops: f64) -> f64 {
        match self.length {
            Length::Epochs(epochs) => epochs as f64 * self.text.tokens,
            Length::Steps(steps) => {
                let accumulate = self.options.accumulate.unwrap_or(1);
                steps as f64 * (sizes.window().len() * accumulate) as f64
            }
            Length::Budget(seconds) => {
                UPDATES_SHARE * seconds * flops / self.network(sizes).flops_per_token() as f64
            }
        }
    }

    /// The same before the sizes are known.
    fn expected_tokens(&self, flops: f64) -> f64 {
        match self.length {
            Length::Epochs(epochs) => epochs as f64 * self.text.tokens,
            // A number of updates is what was asked for: each of them of the size below the middle one.
            Length::Steps(_) => 1.5 * UPDATES * 1024.0,
            // The model will be so large that it sees k tokens a parameter, so F = 6 P N with N = k P; or the largest that the
            // text can bear.
            Length::Budget(seconds) => {
                let flop = UPDATES_SHARE * seconds * flops;
                let most = self.of_width(self.most_hidden(), &Sizes::UNKNOWN);
                let of_largest = flop / self.network(&most).flops_per_token() as f64;
                (self.tokens_per_parameter() * flop / 6.0).sqrt().max(of_largest)
            }
        }
    }

    /// Batch and bptt go together: their product is what an update costs, and a run needs many updates.
    fn window(&self, flops: f64, choices: &mut Choices) -> (usize, usize) {
        let (options, text) = (self.options, self.text);
        let (sizes, reason) = match text.is_word {
            true => ((20, 35), "as in the published word recipes"),
            false if text.is_storybook => {
                (STORYBOOK_WINDOW, "stories come back to what was settled long before")
            }
            false => {
                let seen = self.expected_tokens(flops);
                let leaves_enough =
                    |(batch, bptt): &(usize, usize)| seen >= UPDATES * (batch * bptt) as f64;
                match WINDOWS.into_iter().rev().find(leaves_enough) {
                    Some(sizes) => {
                        (sizes, "batch × bptt is the largest that leaves some thousand updates")
                    }
                    None => (WINDOWS[0], "the smallest there is, for so short a run"),
                }
            }
        };
        let most = |part: usize| ((text.tokens / part as f64) as usize).max(1);
        // Streams should be long enough to be worth carrying a state along.
        let batch = options.batch.unwrap_or(sizes.0.min(most(8 * options.bptt.unwrap_or(32))));
        let bptt = options.bptt.unwrap_or(sizes.1.min(most(4 * batch)));
        let is_cut =
            options.batch.is_none() && batch < sizes.0 || options.bptt.is_none() && bptt < sizes.1;
        let reason = if is_cut { "the text is short" } else { reason };
        if options.batch.is_none() {
            choices.take("batch", (), batch.to_string(), reason);
        }
        if options.bptt.is_none() {
            choices.take("bptt", (), bptt.to_string(), reason);
        }
        (batch, bptt)
    }

    fn tokens_per_parameter(&self) -> f64 {
        if self.text.is_word { TOKENS_PER_PARAMETER_OF_WORDS } else { TOKENS_PER_PARAMETER }
    }

    /// Whether the embedding is the output layer too: of one width with the last layer, unless it was asked for.
    fn tied(&self, last: usize) -> bool {
        let can_tie = self.options.embed.is_none_or(|embed| embed == last);
        self.options.tied.unwrap_or(self.text.is_large_vocabulary && can_tie)
    }

    fn layers_of(&self, size: usize) -> usize {
        self.options.layers.unwrap_or(if size >= DEEP { 2 } else { 1 })
    }

    /// A small text is learned by heart by a large model, so its size sets an upper end.
    fn most_hidden(&self) -> usize {
        match self.text.tokens {
            ..30e3 => 96,
            30e3..200e3 => 192,
            200e3..1.5e6 => 384,
            1.5e6..20e6 => 768,
            _ => 1024,
        }
    }

    /// As `sizes`, with layers of this width.
    fn of_width(&self, size: usize, sizes: &Sizes) -> Sizes {
        let tied = self.tied(size);
        let embed = self.options.embed.unwrap_or(embed_for(size, tied));
        let hidden = vec![size; self.layers_of(size)];
        Sizes { hidden, embed, tied, ..sizes.clone() }
    }

    fn hidden(&self, sizes: &Sizes, flops: f64, choices: &mut Choices) -> Vec<usize> {
        let text = self.text;
        let asked = self.options.hidden.as_deref().unwrap_or(&[]);
        if asked.len() > 1 {
            return asked.to_vec();
        }
        if let [size] = *asked {
            let n_layers = self.layers_of(size);
            if self.options.layers.is_none() {
                let reason = format!("{DEEP} units and more a layer bear a second one");
                choices.take("layers", (), n_layers.to_string(), reason);
            }
            return vec![size; n_layers];
        }
        let most = self.most_hidden();
        let per_parameter = self.tokens_per_parameter();
        let pays = |size: usize| {
            let sizes = self.of_width(size, sizes);
            let parameters = self.network(&sizes).flops_per_token() as f64 / 6.0;
            self.tokens_seen(&sizes, flops) >= per_parameter * parameters
        };
        let heads = self.options.cell_options.heads.unwrap_or(1).max(1);
        let least = if text.is_storybook { STORYBOOK_HIDDEN } else { HIDDEN[0] };
        let least = least.next_multiple_of(heads);
        let widths = HIDDEN.into_iter().filter(|width| width.is_multiple_of(heads));
        let size = widths.rev().find(|&size| size <= most && pays(size));
        let size = size.unwrap_or(least).max(least);
        let hidden = vec![size; self.layers_of(size)];
        let reason = match size == most {
            _ if size == least && text.is_storybook => "enough to remember a story by".to_owned(),
            _ if !pays(size) => "the smallest there is, for so short a run".to_owned(),
            true => format!("the most for a text of about {} tokens", rounded(text.tokens)),
            false => format!(
                "the largest that sees {per_parameter} token{} a parameter in this run",
                if per_parameter == 1.0 { "" } else { "s" }
            ),
        };
        choices.take("hidden", hidden.clone(), format!("{} × {size}", hidden.len()), reason)
    }
}

fn embed_for(hidden: usize, tied: bool) -> usize {
    if tied { hidden } else { hidden.min(128) }
}
