//! State files: what a model remembers comes back to the bit, and to no other model.

use std::fs;

use super::fixture::{Run, config, for_each_altered_byte, for_each_cut, put_digest, state_bits};
use crate::{Error, StateFile, weights_sha256};

#[test]
fn a_state_comes_back_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.state");
    let run = Run::new(5);
    let sha = weights_sha256(&run.parameters);
    let position =
        serde_json::json!({"draws": u64::MAX, "pending": [226, 130], "temperature": 0.1 + 0.2});
    let file = StateFile { state: run.carried.clone(), position };
    file.save(&path, &run.model, &sha).unwrap();
    let loaded = StateFile::load(&path, &run.model, &sha).unwrap();
    assert_eq!(state_bits(&loaded.state), state_bits(&file.state));
    assert_eq!(loaded.position, file.position);
    assert!(fs::metadata(&path).unwrap().len() < 2048);
}

#[test]
fn a_state_of_another_model_is_refused_with_both_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.state");
    let (run, other) = (Run::new(5), Run::new(6));
    let (ours, theirs) = (weights_sha256(&other.parameters), weights_sha256(&run.parameters));
    StateFile { state: run.carried.clone(), position: true.into() }
        .save(&path, &run.model, &theirs)
        .unwrap();
    let error = StateFile::load(&path, &other.model, &ours).unwrap_err();
    let expected = format!(
        "the state in `{}` belongs to another model: it was saved with weights {theirs}, this model has {ours}",
        path.display()
    );
    assert_eq!(error.to_string(), expected);
    assert!(error.hint().unwrap().contains("--state-in"));
}

#[test]
fn a_state_that_lies_about_its_model_is_refused_by_its_shapes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.state");
    let mut sizes = config();
    sizes.hidden_sizes = vec![4, 2];
    let (run, other) = (Run::new(5), Run::of(&sizes, 5));
    StateFile { state: run.carried.clone(), position: true.into() }
        .save(&path, &run.model, "same")
        .unwrap();
    let error = StateFile::load(&path, &other.model, "same").unwrap_err();
    let Error::WrongShape { tensor, expected, found, .. } = &error else { panic!("{error}") };
    assert_eq!((&**tensor, &expected[..], &found[..]), ("state.0.0", &[3, 4][..], &[3, 3][..]));
}

#[test]
fn a_state_file_cut_off_or_altered_anywhere_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.state");
    let run = Run::new(5);
    StateFile { state: run.carried.clone(), position: true.into() }
        .save(&path, &run.model, "same")
        .unwrap();
    for_each_cut(&path, 1, |len| {
        assert!(
            matches!(StateFile::load(&path, &run.model, "same"), Err(Error::CutOff { .. })),
            "{len} bytes"
        );
    });
    for_each_altered_byte(&path, 1, |idx, mask| {
        assert!(StateFile::load(&path, &run.model, "same").is_err(), "byte {idx} ^ {mask}");
    });
    StateFile::load(&path, &run.model, "same").unwrap();
}

#[test]
fn a_state_that_claims_more_streams_than_it_has_takes_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.state");
    let run = Run::new(5);
    StateFile { state: run.carried.clone(), position: true.into() }
        .save(&path, &run.model, "same")
        .unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let key = br#""recurra.streams":""#;
    let place = bytes.windows(key.len()).position(|window| window == key).unwrap() + key.len();
    bytes.splice(place..place, *b"9000000000000000");
    let header_len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) + 16;
    bytes[..8].copy_from_slice(&header_len.to_le_bytes());
    put_digest(&mut bytes);
    fs::write(&path, bytes).unwrap();
    let error = StateFile::load(&path, &run.model, "same").unwrap_err();
    assert!(matches!(error, Error::NotAState { .. }), "{error}");
}

#[test]
fn only_a_regular_file_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let run = Run::new(5);
    let file = StateFile { state: run.carried.clone(), position: true.into() };
    let error = file.save(folder.path(), &run.model, "same").unwrap_err();
    assert!(matches!(error, Error::NotAFile { .. }), "{error}");
    let error = StateFile::load(folder.path(), &run.model, "same").unwrap_err();
    assert!(matches!(error, Error::NotAFile { .. }), "{error}");
    #[cfg(unix)]
    {
        let error = file.save(std::path::Path::new("/dev/null"), &run.model, "same").unwrap_err();
        assert!(matches!(error, Error::NotAFile { .. }), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn a_link_to_a_state_file_stays_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let (target, link) = (folder.path().join("target"), folder.path().join("link"));
    fs::write(&target, "").unwrap();
    std::os::unix::fs::symlink(&target, &link).unwrap();
    let run = Run::new(5);
    StateFile { state: run.carried.clone(), position: true.into() }
        .save(&link, &run.model, "same")
        .unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    StateFile::load(&target, &run.model, "same").unwrap();
}

#[cfg(unix)]
#[test]
fn a_link_to_a_state_file_that_is_yet_to_be_stays_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("link");
    fs::create_dir(folder.path().join("states")).unwrap();
    std::os::unix::fs::symlink("states/target", &link).unwrap();
    let run = Run::new(5);
    let file = StateFile { state: run.carried.clone(), position: true.into() };
    StateFile::expect_place(&link).unwrap();
    file.save(&link, &run.model, "same").unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    StateFile::load(&folder.path().join("states/target"), &run.model, "same").unwrap();
    std::os::unix::fs::symlink("circle", folder.path().join("circle")).unwrap();
    assert!(file.save(&folder.path().join("circle"), &run.model, "same").is_err());
}

#[test]
fn those_who_write_one_state_at_a_time_leave_a_whole_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.state");
    let run = Run::new(5);
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let (run, path) = (&run, &path);
            scope.spawn(move || {
                let file = StateFile { state: run.carried.clone(), position: writer.into() };
                for _ in 0..20 {
                    StateFile::expect_place(path).unwrap();
                    file.save(path, &run.model, "same").unwrap();
                    StateFile::load(path, &run.model, "same").unwrap();
                }
            });
        }
    });
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "temporary files are gone");
}
