//! Wrong arguments end with status 2, before anything is read or written.

use super::outcome::{TINY, Workplace};

#[track_caller]
fn check(line: &str, message: &str, hint: &str) {
    let place = Workplace::with_text(2000);
    place.run(line).fails(2, message, hint);
    assert!(
        !place.path("runs").exists() && !place.path("cache").exists(),
        "`recurra {line}` left something behind"
    );
}

#[test]
fn unknown_names_are_answered_with_the_nearest() {
    check("trian", "unknown command `trian`", "did you mean `train`?");
    check("train text.txt --hiden 8", "unknown option `--hiden`", "did you mean `--hidden`?");
    check("train text.txt --model lstn", "`--model` cannot be `lstn`", "did you mean `lstm`?");
    check(
        "train text.txt --tokenizer wrd",
        "`--tokenizer` cannot be `wrd`",
        "did you mean `word`?",
    );
    check(
        "train text.txt --recipe word_languag_model_200",
        "unknown recipe",
        "did you mean `word_language_model_200`?",
    );
    check(
        "bench train --shape char512",
        "`--shape` cannot be `char512`",
        "did you mean `char-512`?",
    );
}

#[test]
fn sizes_of_zero_and_absurd_ones_are_refused_with_the_limits() {
    check(
        "train text.txt --hidden 0",
        "`--hidden` cannot be `0`",
        "a whole number from 1 to 65,536",
    );
    check(
        "train text.txt --layers 1000",
        "`--layers` cannot be `1000`",
        "a whole number from 1 to 64",
    );
    check(
        "train text.txt --batch 99999999999",
        "`--batch` cannot be",
        "a whole number from 1 to 65,536",
    );
    check("train text.txt --budget 10", "`--budget` cannot be `10`", "`10m`");
    check("train text.txt --dropout 1.5", "`--dropout` cannot be `1.5`", "a number from 0");
    check("generate d --tokens -1", "-1", "");
    check("bench train --hidden 60000 --vocab 9000000", "parameters", "smaller");
}

#[test]
#[cfg(target_os = "linux")] // where the size of the memory is told
fn a_network_that_no_machine_can_hold_is_refused_before_it_is_made() {
    let place = Workplace::with_text(2000);
    let line = "train text.txt --hidden 65536 --layers 64 --budget 10s";
    place.run(line).fails(2, "parameters; the limit is", "smaller");
    // Few parameters, and 140 TB of keys and values.
    let line = "train text.txt --model transformer --hidden 512 --layers 4 --context 131072 --batch 65536 --budget 10s";
    place.run(line).fails(2, "of memory, this machine has", "smaller `--hidden`");
    place.run("bench generate --hidden 60000").fails(2, "parameters", "");
}

#[test]
fn what_helps_a_score_is_checked_before_anything_is_read() {
    let refused = [
        ("--temperature 0", "`--temperature` cannot be `0`", "from 0.1 to 10, or `tuned`"),
        ("--temperature tuned", "needs a validation text", "`--tune PATH`"),
        ("--cache 0", "`cache window` is 0", "from 1 to 1,000,000"),
        ("--cache 500:1", "with all numbers after the colon or none", "`--cache W[:θ,λ]`"),
        ("--cache 500:1,x", "`--cache` cannot be `500:1,x`", "`500:1,0.1`"),
        ("--cache 500:1,1.5", "`cache's λ` is 1.5", "but not including, 1"),
        ("--dynamic 20", "needs the text that the model was trained on", "`--train PATH`"),
        ("--dynamic 20:-1,0 --train a", "`η of dynamic evaluation` is -1", "from 0 to 1"),
        ("--train text.txt", "`--train` is for `--dynamic` only", "`--dynamic 20`"),
        ("--tune text.txt", "nothing to choose", "`--temperature tuned`"),
        ("--cache 500:1,0.1 --tune text.txt", "nothing to choose", "without further numbers"),
    ];
    for (flags, message, hint) in refused {
        check(&format!("eval d text.txt {flags}"), message, hint);
    }
}

#[test]
fn a_forced_instruction_set_must_exist() {
    let place = Workplace::with_text(2000);
    let mut command = place.command("doctor");
    let output = command.env("RECURRA_ISA", "sse9").output().unwrap();
    super::outcome::Outcome::new("doctor", output).fails(2, "`sse9`", "unset RECURRA_ISA");
}

#[test]
fn a_precision_that_the_forced_instruction_set_lacks_is_refused() {
    let place = Workplace::new();
    let mut command = place.command("bench train --precision bf16");
    let output = command.env("RECURRA_ISA", "plain").output().unwrap();
    super::outcome::Outcome::new("bench", output).fails(
        2,
        "`plain`, which multiplies in `f32`; `bf16` was asked for",
        "unset RECURRA_ISA",
    );
}

#[test]
fn help_and_version_are_no_errors() {
    let place = Workplace::new();
    let version = place.run("--version").succeeds();
    assert_eq!(version.stdout(), concat!("recurra ", env!("CARGO_PKG_VERSION"), "\n"));
    for line in ["--help", "help train", "train --help", "generate --help", "bench train --help"] {
        let help = place.run(line).succeeds();
        assert!(help.stdout().contains("Usage:"), "{line}");
    }
    place.run("").fails(2, "", "");
}

#[test]
fn a_recipe_file_is_checked_like_flags_and_counts_as_data() {
    let place = Workplace::with_text(2000);
    place.write("small.toml", "hiden = 8\n");
    place.run("train text.txt --recipe small.toml").fails(
        1,
        "unknown option `--hiden`",
        "did you mean `--hidden`?",
    );
    place.run("train text.txt --recipe none.toml").fails(1, "`none.toml`", "TOML");
    place.write("small.toml", "model = \"gru\"\nhidden = [8, 8]\nsteps = 4\n");
    let line = format!(
        "train text.txt --recipe small.toml {} --json",
        TINY.replace("--hidden 12 --layers 1", "")
    );
    let report = place.run(&line).succeeds().tells("gru");
    assert_eq!(report.json()["steps"], 4);
}

#[test]
fn a_command_that_is_not_given_and_a_number_that_looks_like_an_option() {
    check("", "no command is given", "begin with `recurra train`");
    check("generate a --temperature -1", "`--temperature` cannot be `-1`", "");
}
