//! The whole path: train, look, score, write, go on.

use super::outcome::{TINY, Workplace};

#[track_caller]
fn has_keys(object: &serde_json::Value, keys: &str) {
    for key in keys.split_whitespace() {
        assert!(object.get(key).is_some(), "`{key}` is not in {object}");
    }
}

#[test]
fn from_a_text_to_a_model_that_writes() {
    let place = Workplace::with_text(20_000);
    let report = place.train("run", 60);
    has_keys(
        &report,
        "out steps tokens seconds tokens_per_second train_loss_nats valid_loss_nats valid_perplexity valid_bits_per_byte \
         parameters precision isa threads seed weights_sha256",
    );
    assert_eq!((report["steps"].as_u64(), report["seed"].as_u64()), (Some(60), Some(3)));
    for file in [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "README.md",
        "training/metrics.jsonl",
    ] {
        assert!(place.path("run").join(file).is_file(), "{file}");
    }

    let info = place.run("info run --json").succeeds().tells("lstm").json();
    has_keys(
        &info,
        "parameters flops_per_token bytes_per_token state_bytes tokenizer weights_sha256 validations scores",
    );
    assert_eq!(info["state_bytes"], 2 * 12 * 4);

    let score = place.run("eval run text.txt --json").succeeds().tells("signature").json();
    has_keys(&score, "tokens bytes loss_nats perplexity word_perplexity bits_per_byte signature");
    assert!(score["signature"].as_str().unwrap().starts_with("lm|unit:char|tok:char-"), "{score}");
    let loss = score["loss_nats"].as_f64().unwrap();
    assert!((loss.exp() / score["perplexity"].as_f64().unwrap() - 1.0).abs() < 1e-9);
    place.write("score.json", serde_json::to_string(&score).unwrap());
    let beside = place.run("eval run text.txt --against score.json --json").succeeds();
    let found = beside.tells("bits per byte: ").json();
    has_keys(
        &found["against"],
        "bits_per_byte word_perplexity perplexity not_compared warnings signature",
    );
    assert_eq!(found["against"]["perplexity"]["here"], score["perplexity"]);
    assert_eq!(found["against"]["perplexity"]["there"], score["perplexity"]);

    let written = place.run("generate run --tokens 20 --seed 5 --json").succeeds().json();
    has_keys(&written, "text tokens tokens_per_second first_token_ms seed");
    assert_eq!((written["tokens"].as_u64(), written["seed"].as_u64()), (Some(20), Some(5)));
    assert_eq!(written["text"].as_str().unwrap().chars().count(), 20);
    let again = place.run("generate run --tokens 20 --seed 5").succeeds();
    assert_eq!(again.stdout(), written["text"].as_str().unwrap(), "the same seed, the same text");
}

#[test]
fn runs_are_compared_at_equal_cost() {
    let place = Workplace::with_text(20_000);
    let short = place.train("short", 30);
    place.train("long", 60);
    let line = "train text.txt --out bytes --tokenizer byte --model gru --embed 8 --hidden 12 --batch 4 --bptt 16 \
                --lr 0.01 --steps 40 --threads 1";
    place.run(line).succeeds();

    let alike = place.run("compare short long --json").succeeds();
    let alike = alike.tells("lstm 8 → 12").tells("perplexity").tells("picture: `compare.svg`");
    let found = alike.json();
    has_keys(&found, "runs equal has_perplexity score_columns notes svg");
    has_keys(
        &found["runs"][0],
        "name path model parameters flops_per_token steps tokens seconds flops tokens_per_second has_ended best scores \
         signature text_part curve",
    );
    assert_eq!(
        (found["has_perplexity"].as_bool(), found["svg"].as_str()),
        (Some(true), Some("compare.svg"))
    );
    assert_eq!(
        (&found["runs"][0]["tokens"], &found["runs"][0]["has_ended"]),
        (&short["tokens"], &true.into())
    );
    let tokens = &found["equal"][1];
    assert_eq!(
        (tokens["axis"].as_str(), tokens["at"].as_f64()),
        (Some("tokens"), short["tokens"].as_f64())
    );
    let last = found["runs"][0]["curve"].as_array().unwrap().last().unwrap();
    assert_eq!(tokens["values"][0]["bits_per_byte"], last["bits_per_byte"]);
    let part = tokens["values"][1]["part_of_run"].as_f64().unwrap();
    assert!((part - 0.5).abs() < 1e-9, "{part}");
    assert!(String::from_utf8(place.read("compare.svg")).unwrap().ends_with("</svg>\n"));

    let other = place.run("compare short bytes --at flops --out other.svg --json").succeeds();
    let other = other.tells("perplexity by token is left out").json();
    assert_eq!(
        (other["has_perplexity"].as_bool(), other["equal"].as_array().unwrap().len()),
        (Some(false), 1)
    );
    assert!(String::from_utf8(place.read("other.svg")).unwrap().contains("over FLOPs"));
    let alone = place.run("compare long").succeeds();
    assert!(!alone.stderr().contains('*') && alone.stdout().is_empty());
}

#[test]
fn what_helps_a_score_stands_in_it_with_its_cost() {
    let place = Workplace::with_text(12_000);
    place.train("run", 40);
    let plain = place.run("eval run text.txt --json").succeeds().json();
    assert!(plain.get("add_ons").is_none(), "{plain}");
    let line = "eval run text.txt --temperature 0.9 --cache 60:0.5,0.1 \
                --dynamic 20:0.001,0.01,0.0001 --train text.txt --json";
    let helped = place.run(line).succeeds().tells("times as long").tells("without help");
    let signature = helped.json()["signature"].as_str().unwrap().to_owned();
    // The text is scored with the statistics of itself.
    let (_, data) = signature.split_once("|data:").unwrap();
    let parts = format!("|temp:0.9|cache:60,0.5,0.1|dyn:rms,20,0.001,0.01,0.0001,{}|", &data[..16]);
    assert!(signature.contains(&parts), "{signature}");
    let add_ons = helped.json()["add_ons"].clone();
    has_keys(
        &add_ons,
        "temperature cache dynamic seconds tokens_per_second plain_tokens_per_second times_as_long \
         statistics_seconds tuning_seconds plain_loss_nats plain_perplexity",
    );
    assert_eq!(add_ons["plain_perplexity"], plain["perplexity"]);
    assert_eq!(add_ons["dynamic"]["learning_rate"], 0.001);
    place.write("plain.json", serde_json::to_string(&plain).unwrap());
    place.run(&format!("{line} --against plain.json")).fails(
        1,
        "`cache` is `60,0.5,0.1` here and `none` there",
        "with the same `--temperature`, `--cache` and `--dynamic`",
    );

    let tuned = "eval run text.txt --temperature tuned --cache 60 --dynamic 20 --train text.txt \
                 --tune text.txt --json";
    let tuned = place.run(tuned).succeeds().json();
    let perplexity = |score: &serde_json::Value| score["perplexity"].as_f64().unwrap();
    assert!(perplexity(&tuned) < perplexity(&plain), "{tuned}");
    let info = place.run("info run --json").succeeds().json();
    let again = place.run("eval run text.txt --json").succeeds().json();
    assert_eq!(again, plain, "the model is as it was: {info}");
}

#[test]
fn a_text_goes_on_from_a_saved_state_bit_for_bit() {
    let place = Workplace::with_text(20_000);
    place.train("run", 30);
    for settings in ["", "--prompt Once", "--temperature 0.7 --top-k 20 --repetition-penalty 1.2"] {
        let write = |line: &str| {
            place
                .run(&format!("generate run --seed 9 {settings} {line}"))
                .succeeds()
                .stdout()
                .to_owned()
        };
        let whole = write("--tokens 90");
        let mut parts = write("--tokens 30 --state-out state");
        let go_on = settings.replace("--prompt Once", "");
        for _ in 0..2 {
            let line =
                format!("generate run {go_on} --tokens 30 --state-in state --state-out state");
            parts += place.run(&line).succeeds().stdout();
        }
        assert_eq!(parts, whole, "{settings}");
        assert!(place.read("state").len() < 4096, "a few kilobytes");
    }
}

#[test]
fn stop_strings_end_the_text_before_them() {
    let place = Workplace::with_text(20_000);
    place.train("run", 30);
    let text = place.run("generate run --tokens 200 --seed 9").succeeds().stdout().to_owned();
    let stop: String = text.chars().skip(40).take(2).collect();
    let cut = place
        .run_with("generate run --tokens 200 --seed 9", &["--stop", &stop.replace('\n', "\\n")])
        .succeeds();
    assert_eq!(cut.stdout(), &text[..text.find(&stop).unwrap()]);
}

#[test]
fn a_text_in_a_pipe_and_one_in_a_folder_are_the_same() {
    use std::io::Write as _;
    let place = Workplace::with_text(8000);
    let first = place.train("file", 4);
    place.write("folder/text.md", place.read("text.txt"));
    place.write("folder/other.html", "not this one");
    let line = format!("--out OUT {TINY} --steps 4 --json");
    let folder = place
        .run(&format!("train folder --include *.md {}", line.replace("OUT", "folder-run")))
        .succeeds();
    assert_eq!(folder.json()["weights_sha256"], first["weights_sha256"]);

    let mut command = place.command(&format!("train - {}", line.replace("OUT", "pipe-run")));
    let piped = std::process::Stdio::piped;
    let mut child = command.stdin(piped()).stdout(piped()).stderr(piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&place.read("text.txt")).unwrap();
    let outcome =
        super::outcome::Outcome::new("train -", child.wait_with_output().unwrap()).succeeds();
    assert_eq!(outcome.json()["weights_sha256"], first["weights_sha256"]);
}

#[test]
fn the_stories_inside_the_program_tell_the_distance_to_their_entropy() {
    let place = Workplace::new();
    let line = "train --steps 3 --hidden 8 --embed 8 --batch 4 --bptt 16 --tokenizer byte --json";
    let report = place.run(line).succeeds().tells("a perfect model needs").json();
    assert_eq!(report["out"], "runs/storybook");
    let (found, perfect) = (&report["valid_bits_per_byte"], &report["true_bits_per_byte"]);
    assert!(found.as_f64().unwrap() > perfect.as_f64().unwrap(), "{report}");
    let second = place.run(&format!("{line} --stories chinese")).succeeds().json();
    assert_eq!(second["out"], "runs/storybook-chinese");
    let third = place.run(line).succeeds().json();
    assert_eq!(
        third["out"], "runs/storybook-2",
        "a run is never overwritten, and the command can be given again"
    );
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    use std::process::Stdio;
    let place = Workplace::with_text(8000);
    let line = format!("train text.txt --out run {TINY} --steps 40");
    for (line, is_whole) in
        [(line.as_str(), true), ("generate run --tokens 20000", false), ("info run", true)]
    {
        let mut command = place.command(line);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop((child.stdout.take(), child.stderr.take()));
        assert!(child.wait().unwrap().success(), "{line}");
        assert!(!is_whole || place.path("run/model.safetensors").is_file());
    }
}

#[test]
fn doctor_and_bench_measure() {
    let place = Workplace::new();
    let found = place.run("doctor --threads 1 --json").succeeds().tells("matrix product").json();
    has_keys(&found, "cores instruction_sets isa peaks matmul_gflops readings");
    for (mode, other) in [("train", "--streams"), ("generate", "--bptt")] {
        let sizes = "--vocab 20 --embed 8 --hidden 8 --batch 2 --bptt 4 --streams 2";
        let line = format!("bench {mode} {sizes} --steps 2 --threads 1 --json");
        let told = format!("`{other}` has no part in `bench {mode}`");
        let timing = place.run(&line).succeeds().tells(&told).json();
        has_keys(
            &timing,
            "shape mode tokens_per_second flops_per_token gflops peak_gflops peak_precision utilisation peak_rss_mib isa precision threads",
        );
        assert!(timing["tokens_per_second"].as_f64().unwrap() > 0.0, "{timing}");
    }
    for precision in ["f32", "bf16", "int8"] {
        let line =
            format!("bench step --hidden 20 --steps 2 --threads 1 --precision {precision} --json");
        let timing = place.run(&line).succeeds().json();
        has_keys(&timing, "mode cell hidden microseconds weight_bytes isa precision threads");
        assert_eq!(timing["precision"], precision);
    }
}
