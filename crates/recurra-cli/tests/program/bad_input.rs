//! Bad data and bad files: status 1, what is wrong, what to do, and nothing lost.

use std::process::Command;

use super::outcome::{Outcome, TINY, Workplace, contents};

/// Trains on what `prepare` makes; the folder of the run must not come to be.
#[track_caller]
fn refused(prepare: impl Fn(&Workplace), paths: &str, message: &str, hint: &str) {
    let place = Workplace::new();
    prepare(&place);
    place.run(&format!("train {paths} --out run {TINY} --steps 4")).fails(1, message, hint);
    let holds_a_model = place.path("run/model.safetensors").exists();
    assert!(!holds_a_model, "a model was made of {paths}");
}

#[test]
fn an_empty_file() {
    refused(
        |place| place.write("empty.txt", ""),
        "empty.txt",
        "`empty.txt` holds no text",
        "give a file with text",
    );
}

#[test]
fn a_file_that_is_not_there() {
    refused(
        |place| place.write("text.txt", "abc"),
        "test.txt",
        "no file or folder `test.txt`",
        "did you mean `text.txt`?",
    );
}

#[test]
fn standard_input_for_two_texts() {
    refused(|_| (), "- --valid -", "standard input (`-`) is named 2 times", "name `-` once");
    let place = Workplace::new();
    let outcome = place.run("eval run - --cache 5 --tune -");
    outcome.fails(1, "standard input (`-`) is named 2 times", "name `-` once");
}

#[test]
fn bytes_that_are_not_utf_8_and_lossy() {
    let mut bytes = b"a line of text\n".repeat(100);
    bytes[20] = 0xff;
    let place = Workplace::new();
    place.write("latin.txt", &bytes);
    let line = format!("train latin.txt --out run {TINY} --steps 4");
    place.run(&line).fails(1, "not UTF-8 at byte 20 (line 2)", "--lossy");
    place.run(&format!("{line} --lossy")).succeeds();
}

#[test]
fn a_folder_without_text() {
    let prepare = |place: &Workplace| place.write("pictures/a.png", [0u8; 100]);
    refused(prepare, "pictures", "holds no text file", "name a file directly");
    refused(
        |place| place.write("notes/a.txt", "abc"),
        "notes --include *.md",
        "holds no text file",
        "--include",
    );
}

#[test]
fn a_corpus_shorter_than_its_windows() {
    refused(
        |place| place.write("short.txt", "only a few words"),
        "short.txt",
        "tokens",
        "more text",
    );
}

#[test]
fn one_symbol_only() {
    refused(
        |place| place.write("same.txt", "a".repeat(5000)),
        "same.txt",
        "one symbol only",
        "two different symbols",
    );
}

#[test]
fn damaged_records() {
    let prepare =
        |place: &Workplace| place.write("a.jsonl", "{\"text\": \"one\"}\n{\"title\": \"two\"}\n");
    refused(prepare, "a.jsonl", "line 2 has no field `text`", "--field title");
    refused(|place| place.write("a.txt.gz", "no gzip at all"), "a.txt.gz", "`a.txt.gz`", "damaged");
}

#[test]
fn a_folder_that_already_holds_a_run_stays_as_it_is() {
    let place = Workplace::with_text(8000);
    place.train("run", 4);
    let before = contents(&place.path("run"));
    place.run(&format!("train text.txt --out run {TINY} --steps 4")).fails(
        1,
        "`run` already holds a run",
        "--resume",
    );
    assert_eq!(contents(&place.path("run")), before);
}

#[test]
fn files_of_somebody_else_are_not_overwritten() {
    let place = Workplace::with_text(8000);
    place.write("run/README.md", "mine");
    place.run(&format!("train text.txt --out run {TINY} --steps 4")).fails(
        1,
        "`README.md`",
        "--out",
    );
    assert_eq!(place.read("run/README.md"), b"mine");
}

#[test]
fn a_run_that_is_being_written_by_another_process() {
    let place = Workplace::with_text(8000);
    let line = format!("train text.txt --out run {TINY} --budget 1h");
    let mut writer = place.command(&line).stderr(std::process::Stdio::null()).spawn().unwrap();
    let model = place.path("run/model.safetensors");
    for _ in 0..600 {
        if model.exists() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let second = place.run(&format!("train text.txt --out run {TINY} --steps 4 --resume"));
    writer.kill().unwrap();
    writer.wait().unwrap();
    second.fails(1, "is being written by another process", "wait until it has ended");
}

#[test]
fn a_checkpoint_that_was_cut_off_or_altered() {
    let place = Workplace::with_text(8000);
    place.train("run", 4);
    let whole = place.read("run/model.safetensors");
    for length in [0, 1, 7, 100, whole.len() / 2, whole.len() - 1] {
        place.write("run/model.safetensors", &whole[..length]);
        place.run("generate run --tokens 3").fails(1, "`run/model.safetensors`", "");
    }
    for at in [0, 9, 200, whole.len() / 2, whole.len() - 1] {
        let mut altered = whole.clone();
        altered[at] ^= 0x10;
        place.write("run/model.safetensors", &altered);
        place.run("info run").fails(1, "`run/model.safetensors`", "");
    }
    place.write("run/model.safetensors", &whole);
    place.run("info run").succeeds();
}

#[test]
fn a_damaged_training_state_falls_back_to_the_one_before_and_ends_the_same() {
    let place = Workplace::with_text(8000);
    let alone = place.train("alone", 40);
    place.train("run", 20);
    let last = place.read("run/training/last.safetensors");
    place.write("run/training/last.safetensors", &last[..last.len() / 2]);
    let line = format!("train text.txt --out run {TINY} --steps 40 --resume --json");
    let resumed = place.run(&line).succeeds().tells("warning: ");
    assert_eq!(resumed.json()["weights_sha256"], alone["weights_sha256"]);
    for file in ["last", "previous"] {
        place.write(&format!("run/training/{file}.safetensors"), &last[..last.len() / 2]);
    }
    place.run(&line).fails(1, "last.safetensors` was cut off", "use a copy of it");
}

#[test]
fn a_wrong_tokenizer() {
    let place = Workplace::with_text(8000);
    place.train("run", 4);
    place.write("other.txt", "another text, with other symbols: {}[]#! ".repeat(60));
    place.run(&format!("train other.txt --out other {TINY} --steps 4")).succeeds();
    place.write("run/tokenizer.json", place.read("other/tokenizer.json"));
    place.run("generate run --tokens 3").fails(
        1,
        "tokenizer.json",
        "put back the file that was saved with this model",
    );
    place.write("run/tokenizer.json", "{}");
    place.run("eval run text.txt").fails(1, "tokenizer.json", "");
    place.write("no.json", "{\"version\": 1}");
    place.run("train text.txt --out third --tokenizer no.json").fails(1, "`no.json`", "");
}

#[test]
fn no_model_in_the_folder() {
    let place = Workplace::with_text(2000);
    for line in ["eval nothing text.txt", "generate nothing", "info nothing"] {
        place.run(line).fails(1, "no folder `nothing`", "recurra train --out");
    }
    place.train("run", 4);
    for file in ["tokenizer.json", "config.json"] {
        std::fs::remove_file(place.path("run").join(file)).unwrap();
        let message = format!("`run` holds no model: it has no file `{file}`");
        place.run("info run").fails(1, &message, "recurra train --out");
    }
}

#[test]
fn a_folder_that_cannot_be_written() {
    let place = Workplace::with_text(8000);
    place.write("file", "no folder");
    place.run(&format!("train text.txt --out file/run {TINY} --steps 4")).fails(
        1,
        "`file/run`",
        "can be written",
    );
    place.train("run", 4);
    let refused = place.run("generate run --tokens 3 --state-out file/state").fails(
        1,
        "cannot create `file/",
        "can be written",
    );
    assert_eq!(refused.stdout(), "", "nothing is written that could not be gone on from");
    place.run("generate run --tokens 3 --state-out run").fails(1, "`run`", "a regular file");
    place.run("generate run --tokens 3 --state-out new").succeeds();
    let left = |name: &str| place.path(name).exists();
    assert!(left("new") && !left(".new.tmp") && !left(".run.tmp"));
}

/// The program where no file may grow past `blocks` of 512 bytes: to a program, as good as a full disk.
#[cfg(unix)]
#[track_caller]
fn run_on_a_full_disk(place: &Workplace, line: &str, blocks: usize) -> Outcome {
    let program = assert_cmd::cargo::cargo_bin!("recurra").display();
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("ulimit -f {blocks}; exec '{program}' {line}"));
    place.prepare(&mut shell);
    Outcome::new(line, shell.output().unwrap())
}

#[test]
#[cfg(unix)]
fn a_full_disk_leaves_the_checkpoint_before_it_whole() {
    let place = Workplace::with_text(8000);
    let alone = place.train("alone", 40);
    place.train("run", 20);
    let line = format!("train text.txt --out run {TINY} --steps 40 --resume --json");
    for blocks in [4, 40] {
        run_on_a_full_disk(&place, &line, blocks).fails(1, "cannot", "the disk");
    }
    place.run("info run").succeeds();
    let resumed = place.run(&line).succeeds().json();
    assert_eq!(resumed["weights_sha256"], alone["weights_sha256"]);
}

#[test]
fn a_loss_that_is_no_number_stops_with_step_and_norm_and_keeps_a_good_model() {
    let place = Workplace::with_text(8000);
    let line = "train text.txt --out run --tokenizer char --model rnn-relu --embed 8 --hidden 12 --layers 2 --batch 4 \
                --bptt 16 --optimizer sgd --lr 1e6 --clip 0 --schedule constant --steps 200 --threads 1";
    place.run(line).fails(1, "diverged at step", "lower the learning rate").tells("gradient norm");
    let score = place.run("eval run text.txt --json").succeeds().json();
    assert!(score["perplexity"].as_f64().is_some_and(f64::is_finite), "{score}");
}

#[test]
fn a_prompt_with_unseen_symbols_is_read_and_told() {
    let place = Workplace::with_text(8000);
    place.train("run", 4);
    place
        .run_with("generate run --tokens 3", &["--prompt", "字 and ☂"])
        .succeeds()
        .tells("`字`, `☂`");
    place.run("train text.txt --out words --tokenizer word --embed 8 --hidden 8 --batch 2 --bptt 8 --steps 2").succeeds();
    place
        .run_with("generate words --tokens 3", &["--prompt", "the zeppelin"])
        .succeeds()
        .tells("`zeppelin`");
}

#[test]
fn a_state_of_another_model() {
    let place = Workplace::with_text(8000);
    place.train("one", 4);
    place.train("two", 6);
    place.run("generate one --tokens 5 --state-out one.state").succeeds();
    place.run("generate two --tokens 5 --state-in one.state").fails(
        1,
        "belongs to another model",
        "without --state-in",
    );
    place.write("no.state", "no state at all");
    let other = "`no.state` holds no state of a model";
    place.run("generate one --tokens 5 --state-in no.state").fails(1, other, "--state-out");
    place.run("generate one --tokens 5 --state-in none.state").fails(
        1,
        "`none.state`",
        "check the path",
    );
}

#[test]
fn scores_of_unlike_texts_are_refused_with_the_reason() {
    let place = Workplace::with_text(8000);
    place.train("run", 4);
    place.write("other.txt", "another text");
    let score = place.run("eval run other.txt --json").succeeds();
    place.write("other.json", score.stdout());
    let refused = place.run("eval run text.txt --against other.json").fails(
        1,
        "cannot be compared",
        "on the same text",
    );
    assert!(refused.stderr().contains("bits per byte"), "its own score is told all the same");
    place.run("eval run text.txt --against text.txt").fails(
        1,
        "cannot read a score from `text.txt`",
        "recurra eval --json",
    );
}

#[test]
fn what_should_help_a_score_is_looked_for_before_the_score() {
    let place = Workplace::with_text(8000);
    place.train("run", 4);
    let dynamic = "eval run text.txt --dynamic 20";
    for paths in ["--train nowhere.txt", "--train text.txt --tune nowhere.txt"] {
        let refused = place.run(&format!("{dynamic} {paths}")).fails(1, "nowhere.txt", "");
        assert!(!refused.stderr().contains("perplexity"), "{}", refused.stderr());
    }
    place.run(&format!("{dynamic} --train text.txt --precision int8")).fails(
        2,
        "need the weights as training has them",
        "leave the precision to be chosen",
    );
}

#[test]
fn runs_that_cannot_be_compared_are_named_with_what_differs() {
    let place = Workplace::with_text(8000);
    place.train("run", 4);
    place.train("same/run", 6);
    place.write("other.txt", "another text with other words in it\n".repeat(60));
    place.run(&format!("train other.txt --out other {TINY} --steps 4")).succeeds();
    place.run("compare run other").fails(1, "`run` and `other` cannot be compared", "`--valid`");
    place.run("compare run ./run").fails(1, "are the same run", "once");
    place.run("compare run nothing").fails(1, "no folder `nothing`", "recurra train --out");
    place.run("compare run cache").fails(1, "`cache` holds no model", "recurra train --out");

    place.write("mine.svg", "<svg>a picture of mine</svg>");
    place.run("compare run --out mine.svg").fails(1, "`mine.svg`", "--out FILE");
    place.run("compare run --out same").fails(1, "it is a folder", "--out FILE");
    place.run("compare run --out none/a.svg").fails(1, "`none/a.svg`", "--out FILE");
    assert!(!place.path("compare.svg").exists(), "nothing was compared");
    place.run("compare run").succeeds();
    place.run("compare run same/run").succeeds().tells("same/run  "); // over the picture before

    // What is left of a record is used, and told.
    let whole = String::from_utf8(place.read("run/training/metrics.jsonl")).unwrap();
    let n_lines = whole.lines().count();
    place.write("run/training/metrics.jsonl", format!("{whole}no line\n{whole}"));
    let damaged = format!("damaged in line {}", n_lines + 1);
    place.run("compare run same/run").succeeds().tells(&damaged);
    place.write("run/training/metrics.jsonl", whole.lines().next().unwrap());
    let resume = "--out run --resume";
    place.run("compare same/run run").fails(1, "`run` was not validated in 0 steps", resume);
    std::fs::remove_file(place.path("run/training/metrics.jsonl")).unwrap();
    place.run("compare run").fails(1, "no record of training", "`training` folder");
}

#[test]
fn a_run_without_its_checkpoints_is_known_by_the_score_of_its_end() {
    let place = Workplace::with_text(8000);
    place.train("one", 4);
    place.train("two", 6);
    for file in ["last", "previous"] {
        let _ = std::fs::remove_file(place.path(&format!("one/training/{file}.safetensors")));
    }
    let found = place.run("compare one two --json").succeeds().json();
    assert_eq!(found["runs"][0]["signature"], found["runs"][1]["signature"]);
}

#[test]
fn resuming_with_other_settings_is_refused_and_changes_nothing() {
    let place = Workplace::with_text(8000);
    place.train("run", 4);
    let before = contents(&place.path("run"));
    let line = format!(
        "train text.txt --out run {} --steps 8 --resume",
        TINY.replace("--hidden 12", "--hidden 16")
    );
    place.run(&line).fails(1, "hidden 12, but hidden 16", "another folder");
    assert_eq!(contents(&place.path("run")), before);
}

#[test]
fn a_run_that_failed_on_its_text_leaves_its_name_free() {
    let place = Workplace::new();
    place.write("text.txt", "short");
    let line = format!("train text.txt {TINY} --steps 4");
    place.run(&line).fails(1, "the text has", "give more text");
    place.write("text.txt", "a longer line of text\n".repeat(100));
    place.run(&line).succeeds().tells("`runs/text`: 4 steps");
    place.run(&line).succeeds().tells("`runs/text-2`: 4 steps");
}

#[test]
fn a_tokenizer_whose_parts_do_not_fit_is_no_fault_of_the_program() {
    let place = Workplace::new();
    place.write("text.txt", "a b a b\n".repeat(50));
    // A merge shorter than the prefix makes the library that reads it panic.
    let model = r###"{"type": "BPE", "continuing_subword_prefix": "##", "vocab": {"a": 0, "b": 1}, "merges": ["a b"]}"###;
    place.write("bad.json", format!(r#"{{"version": "1.0", "model": {model}}}"#));
    let outcome = place.run("train text.txt --out run --tokenizer bad.json --steps 2");
    let outcome =
        outcome.fails(1, "`bad.json` is not a usable tokenizer: its parts do not fit together", "");
    assert!(!outcome.stderr().contains("fault of the program"), "{}", outcome.stderr());
}
