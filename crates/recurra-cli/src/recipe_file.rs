//! Recipes: published settings under a name, or a TOML file of the same flag names.
//!
//! A recipe becomes flags and is read by the same parser, so that it has the same limits, messages and suggestions.

use std::path::Path;

use clap::{Args as _, FromArgMatches as _};

use crate::argument_errors;
use crate::commands::train::Train;
use crate::failure::Failure;
use crate::recipe_flags::RecipeFlags;
use crate::values::nearest;

/// Names and texts of files of `recipes/`.
macro_rules! built_in {
    ($($name:literal,)*) => {
        &[$(($name, include_str!(concat!("../../../recipes/", $name, ".toml"))),)*]
    };
}

/// Name and text of the recipes inside the program: every file of `recipes/`.
pub const BUILT_IN: &[(&str, &str)] = built_in![
    "awd_lstm_ptb",
    "awd_lstm_ptb_fast",
    "awd_lstm_wikitext2",
    "awd_lstm_wikitext2_fast",
    "char_ptb",
    "family_gru",
    "family_lstm",
    "family_min_gru",
    "family_min_lstm",
    "family_mlstm",
    "family_mogrifier",
    "family_qrnn",
    "family_rnn_relu",
    "family_rnn_tanh",
    "family_slstm",
    "family_sru",
    "family_transformer",
    "melis_lstm_ptb",
    "mogrifier_ptb",
    "mogrifier_ptb_fast",
    "tang_poems",
    "tiny_shakespeare",
    "word_language_model_1500",
    "word_language_model_200",
    "word_language_model_650",
    "zaremba_medium",
];

/// Largest recipe file.
const MAX_BYTES: u64 = 64 * 1024;

/// The recipe of that name, or in that file.
///
/// # Errors
/// A name that is none and no file (status 2); a file that cannot be read or holds no recipe (status 1).
pub fn load(name: &str) -> Result<RecipeFlags, Failure> {
    if let Some((_, text)) = BUILT_IN.iter().find(|(built_in, _)| *built_in == name) {
        return read(name, text);
    }
    let path = Path::new(name);
    if path.components().count() == 1 && !path.exists() {
        let known: Vec<&str> = BUILT_IN.iter().map(|(built_in, _)| *built_in).collect();
        let near = nearest(name.trim_end_matches(".toml"), known.iter().copied());
        let unknown = |hint| Err(Failure::of_arguments(format!("unknown recipe `{name}`"), hint));
        match near {
            Some(near) => return unknown(format!("did you mean `{near}`?")),
            None if path.extension().is_none() => {
                return unknown(format!("known: {}; or give a TOML file", known.join(", ")));
            }
            None => {} // a file that is not there
        }
    }
    let no_recipe = |why: String| {
        Failure::of_data(
            format!("cannot read the recipe `{name}`: {why}"),
            "give a TOML file of flag names, such as `hidden = [200, 200]`",
        )
    };
    let length = std::fs::metadata(path).map_err(|error| no_recipe(error.to_string()))?.len();
    if length > MAX_BYTES {
        return Err(no_recipe(format!("it has {length} bytes, at most {MAX_BYTES} are read")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| no_recipe(error.to_string()))?;
    read(name, &text)
}

/// What `--recipe` says of itself.
pub fn help() -> String {
    let known: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
    format!(
        "Settings from a file of flag names, or one inside the program; flags win. Inside: {}",
        known.join(", ")
    )
}

/// Reads TOML as flags.
fn read(name: &str, text: &str) -> Result<RecipeFlags, Failure> {
    let of_recipe = |message: String, hint: String| {
        Failure::of_data(format!("recipe `{name}`: {message}"), hint)
    };
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        of_recipe(
            error.to_string().trim_end().to_owned(),
            "write `name = value` lines, with the names of the flags".to_owned(),
        )
    })?;
    let parser = RecipeFlags::augment_args(
        clap::Command::new("recipe").no_binary_name(true).disable_help_flag(true),
    );
    let command = Train::augment_args(clap::Command::new("train"));
    let mut flags = Vec::new();
    for (key, value) in &table {
        let flag = key.replace('_', "-");
        let has_flag = |command: &clap::Command| {
            command.get_arguments().any(|known| known.get_long() == Some(&flag))
        };
        if has_flag(&command) && !has_flag(&parser) {
            return Err(of_recipe(
                format!("`{key}` is not what a recipe decides"),
                format!("give `--{flag}` on the command line"),
            ));
        }
        let value = written(value).ok_or_else(|| {
            of_recipe(
                format!("`{key}` cannot be {}", value.type_str()),
                "give a number, a text, true or false, or a list of numbers".to_owned(),
            )
        })?;
        flags.push(format!("--{flag}={value}"));
    }
    let parsed = parser
        .try_get_matches_from(flags)
        .and_then(|matches| RecipeFlags::from_arg_matches(&matches));
    parsed.map_err(|error| {
        let failure = argument_errors::failure(&error, "recurra train");
        let hint = failure.hint().unwrap_or_default().to_owned();
        of_recipe(failure.message(), hint)
    })
}

/// A value as it stands behind a flag.
fn written(value: &toml::Value) -> Option<String> {
    Some(match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Float(number) => number.to_string(),
        toml::Value::Boolean(flag) => flag.to_string(),
        toml::Value::Array(values) => {
            let numbers = values.iter().map(|value| Some(value.as_integer()?.to_string()));
            numbers.collect::<Option<Vec<String>>>()?.join(",")
        }
        toml::Value::Datetime(_) | toml::Value::Table(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use recurra::models::CellKind;

    use super::*;
    use crate::optimizer_flags::{Optimizer, OptimizerFlags};

    #[test]
    fn every_file_of_the_folder_is_built_in_and_reads() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
        let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        let mut stems: Vec<String> =
            files.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
        stems.sort();
        let names: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, stems);
        for (name, _) in BUILT_IN {
            let recipe = load(name).unwrap_or_else(|failure| panic!("{name}: {failure:?}"));
            assert_ne!(recipe, RecipeFlags::default(), "{name}");
            recipe.options().unwrap_or_else(|failure| panic!("{name}: {failure:?}"));
        }
    }

    #[test]
    fn a_recipe_is_read_as_flags() {
        let recipe = read(
            "r",
            "hidden = [200, 300]\ntied = true\nlr = 20\nvalid_every = 7\nschedule = \"plateau:4\"",
        )
        .unwrap();
        assert_eq!(recipe.hidden, Some(vec![200, 300]));
        assert_eq!((recipe.tied, recipe.valid_every), (Some(true), Some(7)));
        assert_eq!(recipe.optimizer.lr, Some(20.0));
    }

    #[test]
    fn an_optimizer_is_read_whole_and_its_numbers_are_none_of_another() {
        let recipe = read(
            "r",
            "optimizer = \"sgd\"\nmomentum = 0\nweight-decay = 1.2e-6\nspare-vectors = true\nlr = 30\naveraging = \"non-monotone\"",
        )
        .unwrap();
        let options = recipe.clone().options().unwrap();
        assert_eq!(
            options.optimizer.unwrap().to_string(),
            "sgd (momentum 0, weight decay 0.0000012 of matrices)"
        );
        assert_eq!(options.averaging.unwrap().to_string(), "non-monotone:5");
        let mut flags = RecipeFlags::default();
        flags.optimizer.optimizer = Some(Optimizer::Adam);
        let settings = flags.over(recipe).options().unwrap().optimizer.unwrap();
        assert_eq!(
            settings.to_string(),
            "adam (β 0.9 and 0.99, weight decay 0.0000012 of matrices)"
        );
        let recipe = read(
            "r",
            "optimizer = \"adamw\"\nweight-decay = 0.1\nspare-vectors = true\nlr = 0.003",
        )
        .unwrap();
        let with = |of: OptimizerFlags| {
            RecipeFlags { optimizer: of, ..RecipeFlags::default() }
                .over(recipe.clone())
                .options()
                .unwrap()
        };
        let sgd =
            with(OptimizerFlags { optimizer: Some(Optimizer::Sgd), ..OptimizerFlags::default() });
        let settings = sgd.optimizer.unwrap();
        assert_eq!(
            (settings.weight_decay, settings.spare_vectors, sgd.learning_rate),
            (0.0, false, None)
        );
        let no_decay =
            with(OptimizerFlags { weight_decay: Some(0.0), ..OptimizerFlags::default() });
        assert!(!no_decay.optimizer.unwrap().spare_vectors);
        assert_eq!(no_decay.learning_rate, Some(0.003));
    }

    #[test]
    fn what_is_no_recipe_and_what_is_none_of_its_names_is_told() {
        check("threads = 2", "`threads` is not what a recipe decides", "give `--threads` on");
        let failure = load("family_lstm.toml").unwrap_err();
        assert_eq!(failure.hint(), Some("did you mean `family_lstm`?"));
    }

    #[test]
    fn flags_win_over_the_recipe() {
        let recipe = read("r", "epochs = 6\nbatch = 20\nhidden = 200").unwrap();
        let flags = RecipeFlags { steps: Some(5), batch: Some(3), ..RecipeFlags::default() };
        let both = flags.over(recipe);
        assert_eq!(
            (both.epochs, both.steps, both.batch, both.hidden),
            (None, Some(5), Some(3), Some(vec![200]))
        );
    }

    #[test]
    fn another_family_or_depth_takes_of_a_recipe_what_it_knows() {
        let recipe =
            read("r", "hidden = [20, 20]\nforget-bias = 0\nword-dropout = 0.1\ndropout = 0.2")
                .unwrap();
        let flags = |model, layers| RecipeFlags { model, layers, ..RecipeFlags::default() };
        let of_gru = flags(Some(CellKind::Gru), None).over(recipe.clone()).options().unwrap();
        assert_eq!(of_gru.cell_options.forget_bias, None);
        assert_eq!(of_gru.regularization.word_dropout, Some(0.1));
        let of_lstm = flags(Some(CellKind::Lstm), None).over(recipe.clone()).options().unwrap();
        assert_eq!(of_lstm.cell_options.forget_bias, Some(0.0));
        let deeper = flags(None, Some(3)).over(recipe).options().unwrap();
        assert_eq!((deeper.hidden, deeper.layers), (Some(vec![20]), Some(3)));
        let wider = RecipeFlags { hidden: Some(vec![30]), ..RecipeFlags::default() };
        let wider = wider.over(read("r", "hidden = [20, 10, 20]").unwrap()).options().unwrap();
        assert_eq!((wider.hidden, wider.layers), (Some(vec![30]), Some(3)));
        let uneven = read("r", "hidden = [20, 10]").unwrap();
        assert!(flags(None, Some(3)).over(uneven).options().is_err());
    }

    #[track_caller]
    fn check(text: &str, message: &str, hint: &str) {
        let failure = read("r", text).unwrap_err();
        assert!(failure.message().contains(message), "{}", failure.message());
        assert!(failure.hint().unwrap().contains(hint), "{failure:?}");
    }

    #[test]
    fn wrong_recipes_are_told_like_wrong_flags() {
        check("hiden = 200", "unknown option `--hiden`", "did you mean `--hidden`?");
        check("model = \"lstn\"", "`--model` cannot be `lstn`", "did you mean `lstm`?");
        check("batch = 0", "`--batch` cannot be `0`", "a whole number from 1");
        check("epochs = 1\nsteps = 2", "exclude each other", "not both");
        check("hidden = {}", "`hidden` cannot be table", "a list of numbers");
        check("hidden = [", "TOML", "name = value");
    }
}
