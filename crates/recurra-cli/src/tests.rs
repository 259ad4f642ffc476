//! Arguments: what is read, what is refused, and what is advised.

use super::*;
use recurra::kernels::{Isa, Precision};

fn parse(line: &str) -> Result<Program, Failure> {
    let words = std::iter::once("recurra").chain(line.split_whitespace());
    Program::try_parse_from(words).map_err(|error| {
        let words = line.split_whitespace().map(str::to_owned);
        argument_errors::failure(&error, &argument_errors::command_of(&Program::command(), words))
    })
}

/// Refused with a message and a hint that hold these parts.
#[track_caller]
fn refused(line: &str, message: &str, hint: &str) {
    let failure = parse(line).err().unwrap_or_else(|| panic!("`{line}` was read"));
    assert!(failure.message().contains(message), "`{line}`: {}", failure.message());
    let found = failure.hint().unwrap_or_default();
    assert!(found.contains(hint), "`{line}`: {found}");
}

#[track_caller]
fn accepted(line: &str) {
    if let Err(failure) = parse(line) {
        panic!("`{line}`: {} ({:?})", failure.message(), failure.hint());
    }
}

#[test]
fn the_parser_is_sound() {
    Program::command().debug_assert();
}

#[test]
fn every_flag_of_the_contract_is_read() {
    accepted(
        "train a.txt - b --out d --recipe word_language_model_200 --model lstm --tokenizer char --embed 8 --hidden 8,8 \
         --layers 2 --tied --dropout 0.1 --optimizer sgd --lr 20 --clip 0.25 --batch 20 --bptt 35 --epochs 6 --valid v \
         --test t --precision f32 --threads 2 --seed 7 --resume --json",
    );
    accepted(
        "train --forget-bias -1 --schedule cosine:0.1+warmup:0.05 --momentum 0.9 --weight-decay 1e-4 --accumulate 2 \
         --patience 3 --valid-every 100 --budget 90s --include *.md --include *.txt --field text --column body --lossy",
    );
    accepted("train --steps 10 --tied=false --stories chinese");
    accepted(
        "train --model mogrifier --rounds 4 --rank 84 --coupled --state-dropout 0.37 --summed-outputs --reset-state 0.01",
    );
    accepted("eval d a.txt b.txt --json --against s.json --threads 1 --lossy");
    accepted(
        "generate d --prompt It --tokens 10 --temperature 0.8 --top-k 40 --top-p 0.9 --min-p 0.05 --seed 1 --state-in a \
         --state-out b --json --stop \\n --stop END --repetition-penalty 1.1",
    );
    accepted("generate d --precision int8 --threads 1");
    accepted("eval d a.txt --precision int8");
    accepted("bench generate --shape word-200 --precision int8");
    accepted("bench step --hidden 256 --precision bf16 --steps 9 --threads 2 --json");
    accepted("info d --json");
    accepted("doctor --json --threads 1");
    accepted("bench train --shape ptb-650 --threads 2 --precision auto --steps 3 --json");
    accepted(
        "bench train --model gru --vocab 96 --embed 32 --hidden 32 --layers 2 --batch 4 --bptt 8",
    );
    accepted("bench generate --model gru --vocab 96 --embed 32 --hidden 32 --streams 4");
    accepted("compare a b c --at tokens --out picture.svg --json");
}

#[test]
fn unknown_names_are_answered_with_the_nearest() {
    refused("trian", "unknown command `trian`", "did you mean `train`?");
    refused("train --hiden 3", "unknown option `--hiden`", "did you mean `--hidden`?");
    refused(
        "train --model lstn",
        "`--model` cannot be `lstn`: expected rnn-tanh, rnn-relu, lstm, mogrifier",
        "did you mean `lstm`?",
    );
    refused("train --optimizer adan", "`--optimizer` cannot be `adan`", "did you mean `adam`?");
    refused("train --averaging tial", "`--averaging` cannot be `tial`", "did you mean `tail`?");
    refused("train --averaging tail:2", "`--averaging` cannot be `tail:2`", "from 0 to 0.999999");
    refused("train --schedule phases:1", "`--schedule` cannot be `phases:1`", "1 to 64 phases");
    refused("train --epsilon 0", "`--epsilon` cannot be `0`", "1e-30");
    refused("train --precision fp32", "`--precision` cannot be `fp32`", "did you mean `f32`?");
    refused("train --tokenizer chra", "`--tokenizer` cannot be `chra`", "did you mean `char`?");
    refused("train --schedule cosin", "`--schedule` cannot be `cosin`", "did you mean `cosine`?");
    refused("train --stories englsh", "`--stories` cannot be `englsh`", "did you mean `english`?");
    refused(
        "bench train --shape ptb650",
        "`--shape` cannot be `ptb650`",
        "did you mean `ptb-650`?",
    );
    refused("bench tain", "unknown command `tain`", "did you mean `train`?");
    refused("compare a b --at step", "`--at` cannot be `step`: expected time, tokens, flops", "");
    refused("train --tokenizer bpe:3", "`--tokenizer` cannot be `bpe:3`", "at least 256");
    refused(
        "train --model perceptron",
        "`--model` cannot be `perceptron`",
        "give --model rnn-tanh, rnn-relu, lstm",
    );
}

#[test]
fn sizes_of_zero_and_absurd_ones_are_refused_with_the_limits() {
    for flag in [
        "--embed",
        "--hidden",
        "--layers",
        "--batch",
        "--bptt",
        "--accumulate",
        "--epochs",
        "--steps",
        "--threads",
    ] {
        for value in ["0", "99999999999999999999999", "1.5", "many", "1e3"] {
            refused(
                &format!("train {flag} {value}"),
                &format!("`{flag}` cannot be `{value}`: expected a whole number from 1 to "),
                flag,
            );
        }
    }
    refused("train --hidden 8,0", "`--hidden` cannot be `0`", "a whole number from 1");
    refused("train --budget 0s", "`--budget` cannot be `0s`", "a duration");
    refused("train --budget 10", "`--budget` cannot be `10`", "`10m`");
    refused("train --dropout 1", "`--dropout` cannot be `1`", "a number from 0");
    refused("train --dropout 50", "`--dropout` cannot be `50`", "`0.5`");
    refused("train --lr 0", "`--lr` cannot be `0`", "above 0");
    refused("train --lr nan", "`--lr` cannot be `nan`", "above 0");
    refused("train --lr -1", "`--lr` cannot be `-1`", "above 0");
    refused("train --seed -1", "`--seed` cannot be `-1`", "whole number");
    refused("doctor --threads -1", "`--threads` cannot be `-1`", "from 1");
    refused("generate d --temperature -1", "`--temperature` cannot be `-1`", "");
    refused("generate d --top-p 0", "`--top-p` cannot be `0`", "above 0");
    refused("generate d --top-k 0", "`--top-k` cannot be `0`", "from 1");
    refused("generate d --stop=", "`--stop`", "");
}

#[test]
fn a_negative_number_is_no_option() {
    refused("eval -1", "missing PATH", "recurra eval");
    accepted("eval -1 -2");
    accepted("info -1");
    refused("generate d -1", "unknown argument `-1`", "generate --help");
    refused("doctor -1", "unknown argument `-1`", "doctor --help");
    refused("bench -1", "unknown argument `-1`", "bench --help");
    refused("bench train --steps -1", "`--steps` cannot be `-1`", "from 1");
    refused("bench generate --streams -1", "`--streams` cannot be `-1`", "from 1");
    refused("bench step --hidden -1", "`--hidden` cannot be `-1`", "from 1");
    refused("eval d t --threads -1", "`--threads` cannot be `-1`", "from 1");
}

#[test]
fn flags_that_exclude_each_other_are_named() {
    refused("train --epochs 1 --steps 2", "exclude each other", "not both");
    refused("train a.txt --stories english", "exclude each other", "not both");
    refused("train --seed 1 --seed 2", "`--seed` is given more than once", "once");
}

#[test]
fn what_is_missing_is_named() {
    refused("eval", "missing", "recurra eval");
    refused("eval d", "missing", "recurra eval");
    refused("generate", "missing", "recurra generate");
    refused("compare", "missing RUN", "recurra compare");
    refused("train --out", "`--out` needs a value", "recurra train --help");
}

/// Good each for itself, not together: found before any file is read.
#[track_caller]
fn refused_together(line: &str, message: &str, hint: &str) {
    let Ok(Program { command: Command::Train(train) }) = parse(line) else {
        panic!("`{line}` was not read")
    };
    let failure = train.check().err().unwrap_or_else(|| panic!("`{line}` was accepted"));
    assert!(failure.message().contains(message), "`{line}`: {}", failure.message());
    assert!(failure.hint().unwrap_or_default().contains(hint), "`{line}`: {:?}", failure.hint());
}

/// The optimizer that flags ask for, as people read it.
#[track_caller]
fn optimizer(line: &str, expected: &str) {
    let Ok(Program { command: Command::Train(train) }) = parse(line) else {
        panic!("`{line}` was not read")
    };
    let options = train.check().unwrap_or_else(|failure| panic!("`{line}`: {failure:?}"));
    let found = options.optimizer.map_or("default".to_owned(), |settings| settings.to_string());
    assert_eq!(found, expected, "`{line}`");
}

#[test]
fn optimizers_take_their_numbers_from_flags() {
    optimizer("train --lr 0.1 --averaging exponential:0.99", "default");
    optimizer("train --optimizer sgd --momentum 0.9", "sgd (momentum 0.9, weight decay 0)");
    optimizer("train --weight-decay 0.1", "adamw (β 0.9 and 0.99, weight decay 0.1)");
    optimizer(
        "train --optimizer adam --beta1 0 --beta2 0.999 --epsilon 1e-6 --weight-decay 1e-6 --spare-vectors",
        "adam (β 0 and 0.999, ε 0.000001, weight decay 0.000001 of matrices)",
    );
    optimizer(
        "train --optimizer muon --momentum 0.9 --beta2 0.95",
        "muon (momentum 0.9, β 0.9 and 0.95, weight decay 0)",
    );
    optimizer("train --schedule phases:0.1@0.8,7.5=1@0.7,37.5=1,37.5=0.1@0.8,7.5~0", "default");
}

#[test]
fn flags_are_checked_together() {
    refused_together("train --layers 3 --hidden 8,8", "does not fit the 2 widths", "3 widths");
    refused_together(
        "train --model gru --forget-bias 1",
        "means nothing to `--model gru`",
        "it is for lstm",
    );
    refused_together(
        "train --context 48",
        "means nothing to `--model lstm`",
        "add `--model transformer`",
    );
    refused_together(
        "train --model transformer --hidden 100 --heads 7",
        "7 heads cannot share",
        "divides 100",
    );
    refused_together(
        "train --model transformer --hidden 512 --layers 8 --context 1048576",
        "would remember 8589934600 values",
        "a smaller `context`",
    );
    refused_together("train --summed-outputs --hidden 8,16", "cannot be summed", "16 values");
    refused_together("train --momentum 0.9", "`--optimizer sgd`", "add `--optimizer sgd`");
    refused_together(
        "train --momentum 0.9 --optimizer adam",
        "adam and adamw have `--beta1`",
        "leave `--momentum` out",
    );
    refused_together("train --optimizer sgd --beta1 0", "sgd has no such number", "`--beta1` out");
    refused_together("train --optimizer adam --spare-vectors", "there is none", "`--weight-decay`");
    let phases = "--schedule phases:0.1@0.8,1=1@0.7,9=0";
    for optimizer in ["sgd", "muon", "adamw --beta1 0"] {
        refused_together(
            &format!("train --optimizer {optimizer} {phases}"),
            "follow it, not",
            "leave `@` and what follows it out",
        );
    }
    if Isa::best(Some(Precision::Bf16)).is_none() {
        refused_together(
            "train --precision bf16",
            "`bf16` needs `avx512bf16`, `amx`",
            "leave the precision to be chosen",
        );
    }
    refused_together(
        "train --recipe word_language_model_20",
        "unknown recipe",
        "did you mean `word_language_model_200`?",
    );
}
