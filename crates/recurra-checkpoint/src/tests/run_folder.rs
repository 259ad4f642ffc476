//! Creating, holding, resuming and opening a folder; what was saved comes back to the bit.

use std::fs;

use recurra_metrics::LanguageScore;
use serde_json::json;

use super::fixture::{Run, bits, check_parameters, config, saved_run, tokenizer_json};
use crate::{Error, ModelFolder, ModelNotes, weights_sha256};

#[test]
fn a_model_comes_back_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::new(7);
    run.parameters.set_n_moments(0);
    let signature = "lm|unit:word|tok:word-aa|ctx:unbounded|state:carried|data:bb|prec:f32|v:0.1.0"
        .parse()
        .unwrap();
    let score = LanguageScore { tokens: 3, bytes: 7, words: 3, total_nats: 10.0 / 3.0, signature };
    let notes = ModelNotes {
        version: "0.1.0".into(),
        step: 12,
        tokens: 345,
        seconds: 0.1 + 0.2,
        seed: u64::MAX,
        data: "`input.txt` \"quoted\"\n".into(),
        scores: [("valid".into(), score)].into(),
        extra: json!({"lr": 1.0 / 3.0}),
    };
    let held = ModelFolder::create(folder.path().join("a/b")).unwrap();
    held.save_model(&config(), &tokenizer_json(), &run.parameters, &notes).unwrap();
    held.save_card("# A model\n").unwrap();

    let opened = ModelFolder::open(folder.path().join("a/b")).unwrap();
    let saved = opened.load_model().unwrap();
    check_parameters(&saved.parameters, &run.parameters);
    assert_eq!(saved.config, config());
    assert_eq!(saved.model.config(), &config());
    assert_eq!(saved.tokenizer.vocab_size(), 5);
    assert_eq!(saved.notes.as_ref(), Some(&notes));
    let described = opened.describe_model().unwrap();
    assert_eq!((described.config, described.notes), (config(), Some(notes)));
    assert_eq!(described.tokenizer.hash(), saved.tokenizer.hash());
    assert_eq!(saved.weights_sha256, weights_sha256(&run.parameters));
    assert_eq!(fs::read_to_string(opened.path().join("README.md")).unwrap(), "# A model\n");
}

#[test]
fn a_run_comes_back_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    drop(saved_run(folder.path()));
    let (saved, warning) = ModelFolder::resume(folder.path()).unwrap().load_training().unwrap();
    assert!(warning.is_none());
    assert_eq!(saved.tokenizer_json, tokenizer_json());
    Run::new(2).check(&saved);
}

#[test]
fn the_same_run_gives_the_same_bytes() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let _held = (saved_run(one.path()), saved_run(two.path()));
    for name in [
        "config.json",
        "model.safetensors",
        "training/last.safetensors",
        "training/previous.safetensors",
    ] {
        assert_eq!(
            fs::read(one.path().join(name)).unwrap(),
            fs::read(two.path().join(name)).unwrap(),
            "{name}"
        );
    }
}

#[test]
fn the_weights_hash_sees_every_bit_and_nothing_but_the_weights() {
    let run = Run::new(3);
    let expected = weights_sha256(&run.parameters);
    let mut other = run.parameters.clone();
    for id in run.parameters.ids() {
        other.moments_mut(0, id).fill(1.0);
    }
    other.set_n_moments(0);
    assert_eq!(weights_sha256(&other), expected);
    for id in run.parameters.ids() {
        let last = run.parameters.value(id).len() - 1;
        other.value_mut(id)[last] = f32::from_bits(run.parameters.value(id)[last].to_bits() ^ 1);
        assert_ne!(weights_sha256(&other), expected, "{}", run.parameters.name(id));
        other.value_mut(id).copy_from_slice(run.parameters.value(id));
        assert_eq!(bits(other.value(id)), bits(run.parameters.value(id)));
    }
    assert_eq!(weights_sha256(&other), expected);
}

#[test]
fn the_weights_hash_is_the_documented_one() {
    // Made by: hashlib.sha256(struct.pack("<Q1sQQ2f", 1, b"w", 1, 2, 1.5, -2.0)).hexdigest()
    let mut parameters = recurra_tensor::Parameters::new();
    let id = parameters.declare("w", &[2]);
    parameters.value_mut(id).copy_from_slice(&[1.5, -2.0]);
    assert_eq!(
        weights_sha256(&parameters),
        "c8187fd609bfd5bcaabd3979a6477f13abe9b3745cc845f56523a3345d80e96a"
    );
}

#[test]
fn config_json_can_be_read_by_people() {
    let folder = tempfile::tempdir().unwrap();
    saved_run(folder.path());
    let text = fs::read_to_string(folder.path().join("config.json")).unwrap();
    assert!(
        text.starts_with("{\n  \"format_version\": 1,\n  \"kind\": \"language-model\",\n"),
        "{text}"
    );
    assert!(text.contains("\"dropout\": 0.2"), "{text}");
}

#[test]
fn a_folder_that_holds_a_run_is_not_made_again() {
    let folder = tempfile::tempdir().unwrap();
    drop(saved_run(folder.path()));
    let error = ModelFolder::create(folder.path()).unwrap_err();
    assert!(matches!(error, Error::HoldsARun { .. }), "{error}");
    assert!(error.hint().unwrap().contains("--resume"));
}

#[test]
fn a_run_that_stopped_before_its_first_checkpoint_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let held = ModelFolder::create(folder.path()).unwrap();
    let mut other = config();
    other.hidden_sizes = vec![9];
    held.save_config(&other, "{}").unwrap();
    drop(held);
    let resumed = ModelFolder::resume(folder.path()).unwrap();
    assert!(matches!(resumed.load_training(), Err(Error::NoTrainingState { .. })));
    assert!(matches!(
        resumed.load_model(),
        Err(Error::NotAModel { file: "model.safetensors", .. })
    ));
    drop(resumed);
    Run::new(1).save_model(&ModelFolder::create(folder.path()).unwrap()).unwrap();
    assert_eq!(ModelFolder::open(folder.path()).unwrap().load_model().unwrap().config, config());
}

#[test]
fn a_folder_whose_run_never_began_is_known() {
    let folder = tempfile::tempdir().unwrap();
    assert!(!ModelFolder::holds_no_run(folder.path()), "nobody ever began one there");
    let held = ModelFolder::create(folder.path()).unwrap();
    assert!(!ModelFolder::holds_no_run(folder.path()), "it is being begun");
    drop(held);
    assert!(ModelFolder::holds_no_run(folder.path()));
    std::fs::write(folder.path().join("config.json"), "{}").unwrap();
    assert!(!ModelFolder::holds_no_run(folder.path()), "something is there");
}

#[test]
fn a_run_that_is_forgotten_leaves_what_is_not_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let held = saved_run(folder.path());
    fs::write(folder.path().join("log.txt"), "a log").unwrap();
    held.forget_the_run().unwrap();
    drop(held);
    assert!(ModelFolder::holds_no_run(folder.path()));
    assert_eq!(fs::read_to_string(folder.path().join("log.txt")).unwrap(), "a log");
    Run::new(1).save_model(&ModelFolder::create(folder.path()).unwrap()).unwrap();
    let opened = ModelFolder::open(folder.path()).unwrap();
    assert!(matches!(opened.forget_the_run(), Err(Error::OpenedToRead { .. })));
    opened.load_model().unwrap();
}

#[test]
fn files_of_somebody_else_are_not_overwritten() {
    for name in ["README.md", "config.json", "tokenizer.json", "training"] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(name), "mine").unwrap();
        let error = ModelFolder::create(folder.path()).unwrap_err();
        assert!(matches!(&error, Error::NotEmpty { file, .. } if file == name), "{error}");
        assert_eq!(fs::read_to_string(folder.path().join(name)).unwrap(), "mine");
    }
}

#[test]
fn other_files_may_lie_in_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("log.txt"), "a log").unwrap();
    saved_run(folder.path());
    assert_eq!(fs::read_to_string(folder.path().join("log.txt")).unwrap(), "a log");
}

#[test]
fn only_one_holds_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let held = saved_run(folder.path());
    let id = std::process::id();
    for refused in [ModelFolder::resume(folder.path()), ModelFolder::create(folder.path())] {
        let error = refused.unwrap_err();
        assert!(
            matches!(error, Error::Locked { process: Some(found), .. } if found == id),
            "{error}"
        );
        assert!(
            error.to_string().ends_with(&format!("is being written by another process ({id})")),
            "{error}"
        );
    }
    // Reading needs no lock.
    ModelFolder::open(folder.path()).unwrap().load_model().unwrap();
    drop(held);
    ModelFolder::resume(folder.path()).unwrap();
}

#[test]
fn a_lock_whose_process_cannot_be_read_is_a_lock() {
    let folder = tempfile::tempdir().unwrap();
    let _held = saved_run(folder.path());
    fs::write(folder.path().join("training/lock"), "who knows").unwrap();
    let error = ModelFolder::resume(folder.path()).unwrap_err();
    assert!(matches!(error, Error::Locked { process: None, .. }), "{error}");
}

#[cfg(unix)]
#[test]
fn a_lock_that_links_elsewhere_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(saved_run(folder.path()));
    let victim = folder.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    fs::remove_file(folder.path().join("training/lock")).unwrap();
    std::os::unix::fs::symlink(&victim, folder.path().join("training/lock")).unwrap();
    assert!(matches!(ModelFolder::resume(folder.path()), Err(Error::NotAFile { .. })));
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
}

#[cfg(unix)]
#[test]
fn a_temporary_name_that_links_elsewhere_leads_nothing_there() {
    let folder = tempfile::tempdir().unwrap();
    let held = saved_run(folder.path());
    let victim = folder.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    std::os::unix::fs::symlink(&victim, folder.path().join("training/.last.safetensors.tmp"))
        .unwrap();
    Run::new(3).save_training(&held).unwrap();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    Run::new(3).check(&held.load_training().unwrap().0);
}

#[test]
fn nothing_is_saved_into_a_folder_opened_to_read() {
    let folder = tempfile::tempdir().unwrap();
    drop(saved_run(folder.path()));
    let opened = ModelFolder::open(folder.path()).unwrap();
    let run = Run::new(3);
    for refused in [run.save_model(&opened), run.save_training(&opened), opened.save_card("")] {
        assert!(matches!(refused, Err(Error::OpenedToRead { .. })));
    }
}

#[test]
fn a_run_keeps_its_configuration_and_tokenizer() {
    let folder = tempfile::tempdir().unwrap();
    let held = saved_run(folder.path());
    let mut other = config();
    other.dropout = 0.3;
    for (config, tokenizer, file) in [
        (&other, tokenizer_json(), "config.json"),
        (&config(), tokenizer_json() + "\n", "tokenizer.json"),
    ] {
        let error = held.save_config(config, &tokenizer).unwrap_err();
        assert!(
            matches!(&error, Error::ConfigurationChanged { path } if path.ends_with(file)),
            "{error}"
        );
    }
    held.load_model().unwrap();
    held.load_training().unwrap();
}

#[test]
fn what_is_no_model_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "text").unwrap();
    let absent = folder.path().join("absent");
    for (path, expected) in [
        (folder.path(), format!("`{}` holds no model: it has no", folder.path().display())),
        (&file, format!("`{}` holds no model: it has no", file.display())),
        (&absent, format!("no folder `{}`", absent.display())),
    ] {
        let error = ModelFolder::open(path).unwrap_err();
        assert!(error.to_string().starts_with(&expected), "{error}");
        assert!(error.hint().is_some());
        assert!(
            matches!(ModelFolder::resume(path), Err(Error::NothingToResume { .. })),
            "{}",
            path.display()
        );
    }
    // Below a file nothing can be made, whoever asks.
    for path in [file.clone(), file.join("below")] {
        let error = ModelFolder::create(&path).unwrap_err();
        assert!(matches!(error, Error::Io { doing: "create", .. }), "{error}");
        assert!(error.hint().is_some());
    }
}
