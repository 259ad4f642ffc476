//! Every byte that is altered and every byte that is missing is found.

use std::fs;

use super::fixture::{Run, for_each_altered_byte, for_each_cut, saved_run};
use crate::{Error, ModelFolder, Warning};

const MODEL: &str = "model.safetensors";
const LAST: &str = "training/last.safetensors";
const PREVIOUS: &str = "training/previous.safetensors";

#[test]
fn a_checkpoint_cut_off_anywhere_gives_way_to_the_one_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let held = saved_run(folder.path());
    for_each_cut(&folder.path().join(LAST), 1, |len| {
        let (saved, warning) = held.load_training().unwrap();
        let Some(Warning::UsedPrevious { reason, .. }) = warning else {
            panic!("no warning at {len}")
        };
        assert!(
            matches!(reason, Error::CutOff { found, .. } if found == len as u64),
            "{len}: {reason}"
        );
        assert_eq!(saved.progress, Run::new(1).progress);
        assert_eq!(held.load_progress().unwrap(), Run::new(1).progress);
    });
    Run::new(2).check(&held.load_training().unwrap().0);
    assert_eq!(held.load_progress().unwrap(), Run::new(2).progress);
}

#[test]
fn a_checkpoint_altered_anywhere_gives_way_to_the_one_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let held = saved_run(folder.path());
    for_each_altered_byte(&folder.path().join(LAST), 1, |idx, mask| {
        let (saved, warning) = held.load_training().unwrap();
        let Some(Warning::UsedPrevious { reason, .. }) = warning else {
            panic!("no warning at {idx} ^ {mask}")
        };
        assert!(reason.hint().is_some());
        assert_eq!(saved.progress, Run::new(1).progress);
    });
    Run::new(2).check(&held.load_training().unwrap().0);
}

#[test]
fn a_checkpoint_with_bytes_behind_its_end_is_altered() {
    let folder = tempfile::tempdir().unwrap();
    let held = saved_run(folder.path());
    let path = folder.path().join(MODEL);
    let mut bytes = fs::read(&path).unwrap();
    bytes.push(0);
    fs::write(&path, bytes).unwrap();
    assert!(matches!(held.load_model(), Err(Error::Altered { .. })));
}

#[test]
fn a_damaged_checkpoint_with_none_before_it_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let held = saved_run(folder.path());
    let path = folder.path().join(LAST);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    fs::write(folder.path().join(PREVIOUS), "").unwrap();
    assert!(
        matches!(held.load_training(), Err(Error::CutOff { path, .. }) if path.ends_with(LAST))
    );
    fs::remove_file(folder.path().join(PREVIOUS)).unwrap();
    let error = held.load_training().unwrap_err();
    let expected = format!(
        "checkpoint `{}` was cut off while saving: expected {} bytes, found {}",
        path.display(),
        whole.len(),
        whole.len() - 1
    );
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_damaged_checkpoint_never_takes_the_place_of_a_whole_one() {
    let folder = tempfile::tempdir().unwrap();
    drop(saved_run(folder.path()));
    fs::write(folder.path().join(LAST), "damaged").unwrap();
    let held = ModelFolder::resume(folder.path()).unwrap();
    assert!(held.load_training().unwrap().1.is_some());
    Run::new(3).save_training(&held).unwrap();
    let previous = fs::read(folder.path().join(PREVIOUS)).unwrap();
    assert_ne!(previous, b"damaged");
    Run::new(3).check(&held.load_training().unwrap().0);
    // The next one is saved over a whole one, which is kept.
    Run::new(4).save_training(&held).unwrap();
    fs::remove_file(folder.path().join(LAST)).unwrap();
    Run::new(3).check(&held.load_training().unwrap().0);
}

#[test]
fn a_model_cut_off_or_altered_anywhere_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let held = saved_run(folder.path());
    let path = folder.path().join(MODEL);
    // Every byte of the format is tried on `last.safetensors`; this one reads the tokenizer too, and is slower.
    for_each_cut(&path, 5, |len| {
        let error = held.load_model().unwrap_err();
        assert!(matches!(error, Error::CutOff { .. }), "{len}: {error}");
    });
    for_each_altered_byte(&path, 5, |idx, mask| {
        assert!(held.load_model().is_err(), "byte {idx} ^ {mask}");
        assert!(held.describe_model().is_err(), "byte {idx} ^ {mask}");
    });
    held.load_model().unwrap();
}

#[test]
fn a_configuration_or_tokenizer_altered_anywhere_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let held = saved_run(folder.path());
    for name in ["config.json", "tokenizer.json"] {
        let check = |error: Error, place: String| {
            // A byte that is no UTF-8 is an error of reading.
            let refused = matches!(&error, Error::Mismatch { path, .. } | Error::Io { path, .. } if path.ends_with(name));
            assert!(refused, "{name}, {place}: {error}");
        };
        for_each_cut(&folder.path().join(name), 1, |len| {
            check(held.load_model().unwrap_err(), format!("{len} bytes"));
        });
        for_each_altered_byte(&folder.path().join(name), 1, |idx, mask| {
            check(held.load_model().unwrap_err(), format!("byte {idx} ^ {mask}"));
            check(held.load_training().unwrap_err(), format!("byte {idx} ^ {mask}"));
        });
    }
}

#[test]
fn the_tokenizer_of_another_model_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let held = saved_run(folder.path());
    let other = super::fixture::tokenizer_json().replace("\"d\"", "\"e\"");
    fs::write(folder.path().join("tokenizer.json"), other).unwrap();
    let error = held.load_model().unwrap_err();
    let Error::Mismatch { expected, found, .. } = &error else { panic!("{error}") };
    assert_ne!(expected, found);
    assert!(error.to_string().contains(&**expected) && error.to_string().contains(&**found));
    assert!(error.hint().is_some());
}

#[test]
fn a_training_state_is_no_model() {
    let folder = tempfile::tempdir().unwrap();
    let held = saved_run(folder.path());
    fs::copy(folder.path().join(LAST), folder.path().join(MODEL)).unwrap();
    let error = held.load_model().unwrap_err();
    assert!(
        matches!(&error, Error::WrongKind { found, expected: "model", .. } if found == "training"),
        "{error}"
    );
}
