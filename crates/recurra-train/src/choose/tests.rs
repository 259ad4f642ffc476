//! What is chosen for corpora and budgets as people have them.

use recurra_models::CellOptions;

use super::*;
use crate::speed::Assumed;

impl CorpusFacts {
    /// The first nine tenths of tiny-shakespeare, nearly.
    pub(crate) const SHAKESPEARE: CorpusFacts = CorpusFacts {
        bytes: 1_003_854,
        chars: 1_003_854,
        lines: 36_000,
        words: 180_000,
        is_storybook: false,
        predictability: None,
        tokenizer: None,
    };
}

impl Recipe {
    /// One that is complete, for tests that need any.
    pub(crate) fn example() -> Recipe {
        chosen(RecipeOptions::default(), SHAKESPEARE)
    }
}

const SHAKESPEARE: CorpusFacts = CorpusFacts::SHAKESPEARE;

/// Two cores without a matrix unit.
const CORES: Assumed = Assumed(60e9);

#[track_caller]
fn chosen(options: RecipeOptions, facts: CorpusFacts) -> Recipe {
    let Plan { recipe, choices, .. } = choose(&options, &facts, &CORES).unwrap();
    assert!(choices.iter().all(|choice| !choice.value.is_empty() && !choice.reason.is_empty()));
    assert!(!recipe.tied || recipe.embed == *recipe.hidden.last().unwrap());
    recipe
}

#[track_caller]
fn refused(options: RecipeOptions, message: &str) {
    assert_eq!(choose(&options, &SHAKESPEARE, &CORES).unwrap_err().to_string(), message);
}

fn budget(seconds: f64) -> RecipeOptions {
    RecipeOptions { length: Some(Length::Budget(seconds)), ..RecipeOptions::default() }
}

#[test]
fn what_was_given_is_kept_and_not_explained() {
    let options = RecipeOptions {
        cell: Some(CellKind::Lstm),
        tokenizer: Some(TokenizerSpec::Word),
        embed: Some(200),
        hidden: Some(vec![200]),
        layers: Some(2),
        tied: Some(true),
        dropout: Some(0.2),
        optimizer: Some(OptimizerSettings::sgd()),
        learning_rate: Some(20.0),
        clip: Some(0.25),
        batch: Some(20),
        bptt: Some(35),
        length: Some(Length::Epochs(6)),
        ..RecipeOptions::default()
    };
    let Plan { recipe, choices, .. } = choose(&options, &SHAKESPEARE, &CORES).unwrap();
    // The published word_language_model recipe is complete with these flags; only its schedule is ours to name.
    assert_eq!(recipe.schedule, "plateau:4".parse().unwrap());
    assert_eq!((recipe.hidden.as_slice(), recipe.embed, recipe.clip), (&[200, 200][..], 200, 0.25));
    assert_eq!(choices.iter().map(|choice| choice.name).collect::<Vec<_>>(), ["schedule"]);
}

#[test]
fn no_reason_is_given_that_does_not_hold() {
    let options = RecipeOptions { length: Some(Length::Steps(3)), ..RecipeOptions::default() };
    let facts = CorpusFacts {
        bytes: 18,
        chars: 18,
        lines: 1,
        words: 4,
        is_storybook: false,
        predictability: None,
        tokenizer: None,
    };
    let Plan { choices, .. } = choose(&options, &facts, &CORES).unwrap();
    let reason = |name| &choices.iter().find(|choice| choice.name == name).unwrap().reason;
    assert_eq!(reason("tokenizer"), "a text of 18 bytes: characters need the least data");
    assert_eq!(reason("hidden"), "the smallest there is, for so short a run");
    assert_eq!(reason("bptt"), "the text is short");
    let Plan { choices, .. } = choose(&budget(1.0), &SHAKESPEARE, &CORES).unwrap();
    let window = choices.iter().find(|choice| choice.name == "bptt").unwrap();
    assert_eq!(window.reason, "the smallest there is, for so short a run");
}

#[test]
fn longer_runs_and_larger_texts_get_larger_models() {
    let size = |options: RecipeOptions, facts| {
        chosen(options, facts).hidden.iter().map(|size| size * size).sum::<usize>()
    };
    let budgets = [20.0, 180.0, 1800.0, 18_000.0].map(|seconds| size(budget(seconds), SHAKESPEARE));
    assert!(budgets.is_sorted() && budgets[0] < budgets[3], "{budgets:?}");
    let texts = [10_000, 100_000, 1_000_000, 10_000_000]
        .map(|chars| size(budget(1e6), CorpusFacts { bytes: chars, chars, ..SHAKESPEARE }));
    assert!(texts.is_sorted_by(|a, b| a < b), "{texts:?}");
}

#[test]
fn the_choice_fits_any_text_from_one_byte_to_a_terabyte() {
    for power in 0..=40 {
        let bytes = 1u64 << power;
        let facts = CorpusFacts {
            bytes,
            chars: bytes,
            lines: bytes / 60,
            words: bytes / 6,
            is_storybook: false,
            predictability: None,
            tokenizer: None,
        };
        for seconds in [1.0, 90.0, 1e6] {
            let recipe = chosen(budget(seconds), facts);
            let needed = recipe.batch * recipe.bptt + 1;
            assert!(
                bytes < 64 || needed as u64 <= bytes,
                "{bytes}: {} × {}",
                recipe.batch,
                recipe.bptt
            );
        }
    }
}

#[test]
fn many_passes_over_a_text_bring_dropout() {
    let dropout = |epochs| {
        chosen(
            RecipeOptions { length: Some(Length::Epochs(epochs)), ..RecipeOptions::default() },
            SHAKESPEARE,
        )
        .dropout
    };
    assert_eq!([1, 5, 20, 100].map(dropout), [0.0, 0.03, 0.23, 0.46]);
}

#[test]
fn senseless_settings_are_refused() {
    let none = RecipeOptions::default;
    refused(
        RecipeOptions { batch: Some(0), ..none() },
        "`batch` is 0, expected a number from 1 to 65536",
    );
    refused(
        RecipeOptions { hidden: Some(vec![128, usize::MAX]), ..none() },
        "`hidden` is 18446744073709551615, expected a number from 1 to 65536",
    );
    refused(
        RecipeOptions { hidden: Some(vec![]), ..none() },
        "`hidden` is a list of 0, expected 1 to 64 sizes",
    );
    refused(
        RecipeOptions { hidden: Some(vec![8, 8, 8]), layers: Some(2), ..none() },
        "`layers` is 2, expected 3, as many as `hidden` has sizes",
    );
    refused(
        RecipeOptions { dropout: Some(1.0), ..none() },
        "`dropout` is 1, expected a number from 0 to 0.99",
    );
    refused(
        RecipeOptions { learning_rate: Some(f64::NAN), ..none() },
        "`learning rate` is NaN, expected a number from 0 to 1000000",
    );
    refused(budget(0.0), "`budget` is 0, expected a number from 1 to 1000000000");
}

/// A text of which matching needs 2 bits a byte, and of whose validation text so many words are unknown.
fn seen_through(unknown_words: f64) -> CorpusFacts {
    let predictability = Predictability {
        bits_per_byte: 2.0,
        unknown_words,
        n_characters: 65,
        n_words: Some(25_000),
    };
    CorpusFacts { predictability: Some(predictability), ..SHAKESPEARE }
}

#[test]
fn words_are_tokens_only_where_they_say_all_that_there_is() {
    let tokenizer = |facts| chosen(budget(600.0), facts).tokenizer;
    assert_eq!(tokenizer(seen_through(0.0)), TokenizerSpec::Word);
    assert_eq!(tokenizer(seen_through(0.01)), TokenizerSpec::Char);
    assert_eq!(tokenizer(SHAKESPEARE), TokenizerSpec::Char);
    let short = CorpusFacts { words: 900, ..seen_through(0.0) };
    assert_eq!(tokenizer(short), TokenizerSpec::Char);
}

#[test]
fn words_are_learned_by_plain_gradient_descent_unless_something_else_is_meant() {
    let words = seen_through(0.0);
    let found = chosen(budget(600.0), words);
    assert!(found.optimizer.is_sgd());
    assert_eq!(found.learning_rate, 20.0);
    assert_eq!(found.schedule.to_string(), "cosine:0.02");
    let rate = RecipeOptions { learning_rate: Some(0.003), ..budget(600.0) };
    assert!(!chosen(rate, words).optimizer.is_sgd());
    let steep = RecipeOptions { learning_rate: Some(20.0), ..budget(600.0) };
    assert!(chosen(steep.clone(), words).optimizer.is_sgd());
    assert!(chosen(steep, SHAKESPEARE).optimizer.is_sgd());
    assert!(!chosen(budget(600.0), SHAKESPEARE).optimizer.is_sgd());
    let epochs = RecipeOptions { length: Some(Length::Epochs(40)), ..RecipeOptions::default() };
    assert_eq!(chosen(epochs, words).schedule.to_string(), "plateau:4");
}

#[test]
fn time_for_words_goes_to_a_mogrifier_unless_something_is_asked_of_an_lstm() {
    let words = seen_through(0.0);
    assert_eq!(chosen(budget(600.0), words).cell, CellKind::Mogrifier);
    assert_eq!(chosen(budget(600.0), SHAKESPEARE).cell, CellKind::Lstm);
    let with = |cell_options| chosen(RecipeOptions { cell_options, ..budget(600.0) }, words).cell;
    let weight_dropout = CellOptions { weight_dropout: Some(0.5), ..CellOptions::default() };
    assert_eq!(with(weight_dropout), CellKind::Lstm);
    assert_eq!(with(CellOptions { rank: Some(32), ..CellOptions::default() }), CellKind::Mogrifier);
    let gru = RecipeOptions { cell: Some(CellKind::Gru), ..budget(600.0) };
    assert_eq!(chosen(gru, words).cell, CellKind::Gru);
    let epochs = RecipeOptions { length: Some(Length::Epochs(40)), ..RecipeOptions::default() };
    assert_eq!(chosen(epochs.clone(), words).cell, CellKind::Lstm);
    // What only a Mogrifier knows asks for one.
    let cell_options = CellOptions { rank: Some(32), ..CellOptions::default() };
    assert_eq!(chosen(RecipeOptions { cell_options, ..epochs }, words).cell, CellKind::Mogrifier);
}

#[test]
fn only_families_of_which_it_was_measured_learn_words_by_plain_gradient_descent() {
    let words = seen_through(0.0);
    for cell in CellKind::ALL {
        let found = chosen(RecipeOptions { cell: Some(cell), ..budget(600.0) }, words);
        let is_measured = matches!(cell, CellKind::Lstm | CellKind::Mogrifier);
        assert_eq!(found.optimizer.is_sgd(), is_measured, "{cell}");
        assert_eq!(found.learning_rate > 1.0, is_measured, "{cell}");
        assert_eq!(found.schedule.warmup > 0.0, !is_measured, "{cell}");
    }
}

#[test]
fn a_tokenizer_that_is_there_counts_as_what_it_is() {
    let file = |vocabulary, bytes_per_token, is_word| {
        let tokenizer = Some(TokenizerFacts { vocabulary, bytes_per_token, is_word });
        let given = TokenizerSpec::File("tokenizer.json".into());
        let options = RecipeOptions { tokenizer: Some(given.clone()), ..budget(600.0) };
        Recipe {
            tokenizer: TokenizerSpec::Char,
            ..chosen(options, CorpusFacts { tokenizer, ..SHAKESPEARE })
        }
    };
    let of = |spec| {
        let options = RecipeOptions { tokenizer: Some(spec), ..budget(600.0) };
        Recipe { tokenizer: TokenizerSpec::Char, ..chosen(options, SHAKESPEARE) }
    };
    assert_eq!(file(256, 1.0, false), of(TokenizerSpec::Byte));
    assert_eq!(file(8000, 4.0, false), of(TokenizerSpec::Bpe(8000)));
    assert_eq!(file(10_000, 5.5, true).cell, CellKind::Mogrifier);
}

#[test]
fn a_mogrifier_learns_at_a_lower_rate_than_an_lstm_and_falls_faster_with_its_width() {
    let rate = |cell, width| {
        let hidden = Some(vec![width]);
        chosen(RecipeOptions { cell: Some(cell), hidden, ..budget(600.0) }, SHAKESPEARE)
            .learning_rate
    };
    let widths = [64, 128, 320];
    assert_eq!(widths.map(|width| rate(CellKind::Mogrifier, width)), [0.005, 0.005, 0.0025]);
    assert_eq!(widths.map(|width| rate(CellKind::Lstm, width)), [0.006, 0.006, 0.00537]);
}

#[test]
fn a_small_text_whose_network_stays_small_gets_large_updates() {
    let small =
        CorpusFacts { bytes: 180_000, chars: 180_000, lines: 2_000, words: 33_000, ..SHAKESPEARE };
    let Recipe { batch, bptt, hidden, .. } =
        choose(&budget(600.0), &small, &Assumed(4e11)).unwrap().recipe;
    assert_eq!((batch, bptt, hidden), (64, 128, vec![192]));
}

#[test]
fn the_kinds_of_words_are_counted_where_that_was_measured() {
    let tokens_seen = |n_words| {
        let predictability = seen_through(0.0).predictability;
        let predictability = predictability.map(|of| Predictability { n_words, ..of });
        let facts = CorpusFacts { predictability, ..SHAKESPEARE };
        let hidden = RecipeOptions { hidden: Some(vec![200]), ..budget(600.0) };
        choose(&hidden, &facts, &Assumed(1e12)).unwrap().passes
    };
    assert!(tokens_seen(Some(40_000)) < 0.5 * tokens_seen(Some(10_000)));
}

#[test]
fn a_faster_machine_gets_a_larger_model_and_is_asked_about_the_one_that_it_gets() {
    let facts = CorpusFacts { bytes: 1 << 30, chars: 1 << 30, ..SHAKESPEARE };
    let plan = |flops| choose(&budget(600.0), &facts, &Assumed(flops)).unwrap();
    let parts = [1e10, 1e11, 1e12].map(|flops| plan(flops).recipe.hidden.iter().sum::<usize>());
    assert!(parts.is_sorted_by(|a, b| a < b), "{parts:?}");
    let speed = plan(1e12).choices.into_iter().find(|choice| choice.name == "speed").unwrap();
    assert!(speed.value.ends_with(" tokens/s"), "{}", speed.value);
}

#[test]
fn heads_share_the_width_that_is_chosen() {
    let cell_options = |heads| CellOptions { heads: Some(heads), ..CellOptions::default() };
    let storybook = CorpusFacts { is_storybook: true, ..SHAKESPEARE };
    for (heads, facts, seconds) in
        [(3, SHAKESPEARE, 600.0), (3, storybook, 90.0), (5, SHAKESPEARE, 10.0)]
    {
        let options = RecipeOptions {
            cell: Some(CellKind::Slstm),
            cell_options: cell_options(heads),
            ..budget(seconds)
        };
        let hidden = chosen(options, facts).hidden;
        assert!(hidden.iter().all(|width| width.is_multiple_of(heads)), "{heads}: {hidden:?}");
    }
    // No other width than the given one has to be divided.
    let given = RecipeOptions {
        cell: Some(CellKind::Mlstm),
        hidden: Some(vec![500]),
        cell_options: cell_options(5),
        ..budget(600.0)
    };
    assert_eq!(chosen(given, SHAKESPEARE).hidden, [500, 500]);
}

#[test]
fn windows_longer_than_the_text_are_not_timed() {
    let options = RecipeOptions { batch: Some(4096), bptt: Some(512), ..budget(600.0) };
    let plan = choose(&options, &SHAKESPEARE, &Assumed(1e12)).unwrap();
    assert_eq!(plan.flops, GUESSED_FLOPS);
}

#[test]
fn all_that_was_not_given_is_told() {
    let plan = choose(&budget(600.0), &seen_through(0.0), &CORES).unwrap();
    let names: Vec<&str> = plan.choices.iter().map(|choice| choice.name).collect();
    for name in
        ["tokenizer", "model", "optimizer", "batch", "bptt", "hidden", "tied", "embed", "clip"]
    {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    let width = RecipeOptions { hidden: Some(vec![400]), ..budget(600.0) };
    let plan = choose(&width, &SHAKESPEARE, &CORES).unwrap();
    let layers = plan.choices.iter().find(|choice| choice.name == "layers").unwrap();
    assert_eq!(layers.value, "2");
}
