//! Errors of the argument parser, told the way this program tells all errors.

use std::error::Error as _;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::failure::Failure;
use crate::values::{ValueError, nearest};

/// The message and the hint of an error of the parser; `command` is what was asked for help, such as `recurra train`.
pub fn failure(error: &clap::Error, command: &str) -> Failure {
    let of = |kind| error.get(kind).and_then(first);
    let see_help = format!("`{command} --help` lists what there is");
    let argument = of(ContextKind::InvalidArg).map(|name| flag_alone(&name)).unwrap_or_default();
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let hint = match of(ContextKind::SuggestedArg) {
                Some(near) => format!("did you mean `{}`?", flag_alone(&near)),
                None => see_help,
            };
            let is_number = argument.parse::<f64>().is_ok();
            let what = if argument.starts_with('-') && !is_number { "option" } else { "argument" };
            Failure::of_arguments(format!("unknown {what} `{argument}`"), hint)
        }
        ErrorKind::InvalidSubcommand => {
            let hint = match of(ContextKind::SuggestedSubcommand) {
                Some(near) => format!("did you mean `{near}`?"),
                None => see_help,
            };
            let name = of(ContextKind::InvalidSubcommand).unwrap_or_default();
            Failure::of_arguments(format!("unknown command `{name}`"), hint)
        }
        ErrorKind::InvalidValue => invalid_value(error, &argument, see_help),
        ErrorKind::ValueValidation => {
            let value = of(ContextKind::InvalidValue).unwrap_or_default();
            let source = error.source();
            let refused = source.and_then(|source| source.downcast_ref::<ValueError>());
            let why = source.map(|source| format!(": {source}")).unwrap_or_default();
            let hint = refused.and_then(|refused| refused.hint.clone());
            let hint = hint
                .or_else(|| refused.map(|refused| format!("give {argument} {}", refused.expected)));
            Failure::of_arguments(
                format!("`{argument}` cannot be `{value}`{why}"),
                hint.unwrap_or(see_help),
            )
        }
        ErrorKind::ArgumentConflict => {
            let other = of(ContextKind::PriorArg).map(|name| flag_alone(&name)).unwrap_or_default();
            if other.is_empty() || other == argument {
                return Failure::of_arguments(
                    format!("`{argument}` is given more than once"),
                    format!("give `{argument}` once"),
                );
            }
            let message = format!("`{argument}` and `{other}` exclude each other");
            Failure::of_arguments(message, format!("give `{argument}` or `{other}`, not both"))
        }
        ErrorKind::MissingRequiredArgument => {
            let message = format!("missing {argument}");
            Failure::of_arguments(message, usage(error).unwrap_or(see_help))
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let hint = format!("begin with `{command} train`; {see_help}");
            Failure::of_arguments("no command is given", hint)
        }
        _ => {
            let text = error.to_string();
            let first_line = text.lines().next().unwrap_or_default();
            Failure::of_arguments(first_line.trim_start_matches("error: "), see_help)
        }
    }
}

/// A value outside a fixed list: told with the list, and with the nearest of it.
fn invalid_value(error: &clap::Error, argument: &str, see_help: String) -> Failure {
    let value = error.get(ContextKind::InvalidValue).and_then(first).unwrap_or_default();
    let known = match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(known)) => known.clone(),
        _ => Vec::new(),
    };
    if value.is_empty() {
        return Failure::of_arguments(format!("`{argument}` needs a value"), see_help);
    }
    let message = format!("`{argument}` cannot be `{value}`: expected {}", known.join(", "));
    let near = nearest(&value, known.iter().map(String::as_str));
    let hint = near.map_or(see_help, |near| format!("did you mean `{near}`?"));
    Failure::of_arguments(message, hint)
}

fn first(value: &ContextValue) -> Option<String> {
    match value {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) => texts.first().cloned(),
        ContextValue::StyledStr(text) => Some(text.to_string()),
        _ => None,
    }
}

/// `--model <MODEL>` and `--tied[=<BOOL>]` as `--model` and `--tied`.
fn flag_alone(name: &str) -> String {
    let end = name.find([' ', '[', '=']).unwrap_or(name.len());
    if name.starts_with('-') {
        name[..end].to_owned()
    } else {
        name.trim_matches(['<', '>', '[', ']', '.']).to_owned()
    }
}

fn usage(error: &clap::Error) -> Option<String> {
    let text = first(error.get(ContextKind::Usage)?)?;
    let line = text
        .lines()
        .map(|line| line.trim().trim_start_matches("Usage: "))
        .find(|line| !line.is_empty())?;
    Some(format!("write `{line}`"))
}

/// `recurra train` from the words on the command line.
pub fn command_of(program: &clap::Command, words: impl Iterator<Item = String>) -> String {
    let mut asked = program.get_name().to_owned();
    let mut command = program;
    for word in words {
        let Some(inner) = command.find_subcommand(&word) else { break };
        asked = format!("{asked} {word}");
        command = inner;
    }
    asked
}
