//! Weights made by others: PyTorch's layout is read, what does not fit is named, what is hostile is refused.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

use super::fixture::{Run, bits, config, put_digest, saved_run, tokenizer_json};
use crate::{Error, ModelFolder, weights_sha256};

/// The tensors of a run by name, as an independent program would hold them.
fn tensors_of(run: &Run) -> HashMap<String, (Dtype, Vec<usize>, Vec<u8>)> {
    let tensor = |id| {
        let bytes = run.parameters.value(id).iter().flat_map(|value| value.to_le_bytes()).collect();
        (run.parameters.name(id).to_owned(), (Dtype::F32, run.parameters.shape(id).to_vec(), bytes))
    };
    run.parameters.ids().map(tensor).collect()
}

/// A model folder whose weights were written by the `safetensors` crate, after `change`.
fn foreign_folder(
    path: &Path,
    change: impl Fn(&mut HashMap<String, (Dtype, Vec<usize>, Vec<u8>)>),
) -> ModelFolder {
    let mut tensors = tensors_of(&Run::new(2));
    change(&mut tensors);
    let views = tensors.iter().map(|(name, (dtype, shape, bytes))| {
        (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    // What the Hugging Face libraries put there.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let bytes = safetensors::serialize(views, Some(metadata)).unwrap();
    drop(saved_run(path));
    fs::write(path.join("model.safetensors"), bytes).unwrap();
    ModelFolder::open(path).unwrap()
}

#[track_caller]
fn check_refused(
    change: impl Fn(&mut HashMap<String, (Dtype, Vec<usize>, Vec<u8>)>),
    expected: &str,
) {
    let folder = tempfile::tempdir().unwrap();
    let error = foreign_folder(folder.path(), change).load_model().unwrap_err();
    let path = folder.path().join("model.safetensors").display().to_string();
    assert_eq!(error.to_string().replace(&path, "PATH"), expected);
    assert!(error.hint().is_some());
}

/// A model folder whose weights are a header, as JSON or as text, and so many bytes of zeros.
#[track_caller]
fn check_header(header: impl ToString, n_bytes: usize, expected: &str) {
    let header = header.to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(vec![0; n_bytes]);
    check_bytes(&bytes, expected);
}

#[track_caller]
fn check_bytes(bytes: &[u8], expected: &str) {
    let folder = tempfile::tempdir().unwrap();
    let held = saved_run(folder.path());
    let path = folder.path().join("model.safetensors");
    fs::write(&path, bytes).unwrap();
    let error = held.load_model().unwrap_err();
    assert!(error.to_string().contains(expected), "{error}");
    assert!(error.hint().is_some());
}

fn tensor(shape: Value, start: u64, end: u64) -> Value {
    json!({"dtype": "F32", "shape": shape, "data_offsets": [start, end]})
}

#[test]
fn weights_written_by_another_program_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let run = Run::new(2);
    let saved = foreign_folder(folder.path(), |_| ()).load_model().unwrap();
    for id in run.parameters.ids() {
        assert_eq!(bits(saved.parameters.value(id)), bits(run.parameters.value(id)));
    }
    assert_eq!(saved.weights_sha256, weights_sha256(&run.parameters));
    assert_eq!(saved.notes, None);
}

#[test]
fn weights_in_the_layout_of_pytorch_are_read() {
    // Byte for byte (the values aside) what `safetensors.torch.save_model` of PyTorch 2.15 makes of a module with
    // `embedding = nn.Embedding(5, 1)`, `rnn = nn.GRU(1, 1)` and `output = nn.Linear(1, 5)`: no metadata, the tensors
    // in the order of their names, and a header padded by spaces to 488 bytes.
    let shapes = [
        ("embedding.weight", vec![5, 1]),
        ("output.bias", vec![5]),
        ("output.weight", vec![5, 1]),
        ("rnn.bias_hh_l0", vec![3]),
        ("rnn.bias_ih_l0", vec![3]),
        ("rnn.weight_hh_l0", vec![3, 1]),
        ("rnn.weight_ih_l0", vec![3, 1]),
    ];
    let mut header = "{".to_owned();
    let mut start = 0;
    for (name, shape) in &shapes {
        let end = start + 4 * shape.iter().product::<usize>();
        let comma = if start == 0 { "" } else { "," };
        let shape = json!(shape);
        header += &format!(
            r#"{comma}"{name}":{{"dtype":"F32","shape":{shape},"data_offsets":[{start},{end}]}}"#
        );
        start = end;
    }
    header += "}";
    header += &" ".repeat(header.len().next_multiple_of(8) - header.len());
    assert_eq!(header.len(), 488);
    let mut bytes = 488u64.to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend((0..start / 4).flat_map(|idx| (idx as f32).to_le_bytes()));

    let folder = tempfile::tempdir().unwrap();
    let config = json!({
        "format_version": 1, "kind": "language-model", "cell": "gru", "vocab_size": 5, "embed_size": 1,
        "hidden_sizes": [1], "tied": false, "dropout": 0, "forget_bias": 0
    });
    fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    fs::write(folder.path().join("tokenizer.json"), tokenizer_json()).unwrap();
    fs::write(folder.path().join("model.safetensors"), bytes).unwrap();
    let saved = ModelFolder::open(folder.path()).unwrap().load_model().unwrap();
    let value = |name| saved.parameters.value(saved.parameters.find(name).unwrap());
    assert_eq!(value("embedding.weight"), [0.0, 1.0, 2.0, 3.0, 4.0]);
    assert_eq!(value("output.weight"), [10.0, 11.0, 12.0, 13.0, 14.0]);
    assert_eq!(value("rnn.weight_ih_l0"), [24.0, 25.0, 26.0]);
}

#[test]
fn another_program_reads_our_weights() {
    let folder = tempfile::tempdir().unwrap();
    drop(saved_run(folder.path()));
    let bytes = fs::read(folder.path().join("model.safetensors")).unwrap();
    let found = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let expected = tensors_of(&Run::new(2));
    assert_eq!(found.len(), expected.len());
    for (name, (dtype, shape, bytes)) in &expected {
        let view = found.tensor(name).unwrap();
        assert_eq!(
            (view.dtype(), view.shape(), view.data()),
            (*dtype, &shape[..], &bytes[..]),
            "{name}"
        );
    }
    let (header_bytes, _) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!((8 + header_bytes) % 8, 0, "the tensors are not aligned");
}

#[test]
fn the_digest_is_the_documented_one() {
    use sha2::{Digest, Sha256};
    let folder = tempfile::tempdir().unwrap();
    drop(saved_run(folder.path()));
    let mut bytes = fs::read(folder.path().join("model.safetensors")).unwrap();
    let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let digest = metadata.metadata().as_ref().unwrap()["recurra.digest"].clone();
    let start = bytes.windows(64).position(|window| window == digest.as_bytes()).unwrap();
    bytes[start..start + 64].fill(b'0');
    let expected: String =
        Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, expected);
}

#[test]
fn a_tensor_that_does_not_fit_the_configuration_is_named() {
    check_refused(
        |tensors| drop(tensors.remove("rnn.bias_hh_l1")),
        "`PATH` has no tensor `rnn.bias_hh_l1`: the configuration asks for one of shape (8)",
    );
    check_refused(
        |tensors| {
            drop(tensors.insert("decoder.weight".into(), (Dtype::F32, vec![1, 2], vec![0; 8])))
        },
        "`PATH` has a tensor `decoder.weight` of shape (1, 2): the configuration asks for none of that name",
    );
    check_refused(
        |tensors| tensors.get_mut("rnn.weight_ih_l0").unwrap().1 = vec![2, 12],
        "tensor `rnn.weight_ih_l0` in `PATH` has shape (2, 12): expected (12, 2)",
    );
    check_refused(
        |tensors| *tensors.get_mut("output.bias").unwrap() = (Dtype::BF16, vec![5], vec![0; 10]),
        "tensor `output.bias` in `PATH` holds numbers of type `BF16`: expected `F32`",
    );
    check_refused(
        |tensors| {
            *tensors.get_mut("embedding.weight").unwrap() = (Dtype::F32, vec![6, 2], vec![0; 48])
        },
        "tensor `embedding.weight` in `PATH` has shape (6, 2): expected (5, 2)",
    );
}

#[test]
fn hostile_headers_are_refused() {
    check_bytes(b"", "was cut off while saving: expected 8 bytes, found 0");
    check_bytes(
        &u64::MAX.to_le_bytes(),
        "its header has 18446744073709551615 bytes, more than 16777216",
    );
    check_bytes(
        &(16u64 << 20).to_le_bytes(),
        "was cut off while saving: expected 16777224 bytes, found 8",
    );
    check_header("", 0, "its header cannot be read");
    check_header("[]", 0, "its header cannot be read");
    check_header("{} {}", 0, "its header cannot be read");
    check_header("\u{0}", 0, "its header cannot be read");
    check_header("[".repeat(100_000), 0, "its header cannot be read");
    check_header(json!({"a": 1}), 0, "its header cannot be read");
    check_header(json!({"a": tensor(json!([-1]), 0, 4)}), 4, "its header cannot be read");
    check_header(
        json!({"a": tensor(json!([1]), 0, 4), "__metadata__": {"a": 1}}),
        4,
        "its header cannot be read",
    );
    check_header(json!({"recurra.digest": 1}), 0, "its header cannot be read");
    check_header(
        json!({"__metadata__": {"recurra.kind": "model"}}),
        0,
        "`recurra.digest` is not where it belongs",
    );
    let one = r#""a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;
    let two = r#""a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}"#;
    check_header(format!("{{{one},{two}}}"), 8, "tensor `a` stands in it twice");
}

#[test]
fn hostile_offsets_are_refused() {
    let both = |a: Value, b: Value| json!({"a": a, "b": b});
    check_header(
        both(tensor(json!([2]), 0, 8), tensor(json!([2]), 4, 12)),
        12,
        "tensor `b` at bytes 4 to 12 overlaps `a`, which ends at 8",
    );
    check_header(
        both(tensor(json!([2]), 0, 8), tensor(json!([2]), 0, 8)),
        8,
        "tensor `b` at bytes 0 to 8 overlaps `a`",
    );
    check_header(
        both(tensor(json!([1]), 0, 4), tensor(json!([1]), 8, 12)),
        12,
        "tensor `b` at bytes 8 to 12 leaves a gap behind `a`, which ends at 4",
    );
    check_header(json!({"a": tensor(json!([1]), 4, 8)}), 8, "leaves a gap behind `the header`");
    check_header(json!({"a": tensor(json!([1]), 0, 4)}), 3, "was cut off while saving");
    check_header(json!({"a": tensor(json!([1]), 0, 4)}), 5, "found");
    check_header(json!({"a": tensor(json!([0]), 8, 0)}), 8, "leaves a gap");
    check_header(
        both(tensor(json!([2]), 0, 8), tensor(json!([]), 8, 4)),
        8,
        "ends at byte 4, before its start at 8",
    );
    check_header(
        json!({"a": tensor(json!([3]), 0, 8)}),
        8,
        "tensor `a` of shape [3] has 8 bytes: expected 12",
    );
    let huge = u64::MAX;
    check_header(
        json!({"a": tensor(json!([huge, huge]), 0, 8)}),
        8,
        "expected more than there can be",
    );
    check_header(
        json!({"a": tensor(json!([1u64 << 62]), 0, 0)}),
        0,
        "expected more than there can be",
    );
    check_header(
        json!({"a": {"dtype": "F8", "shape": [1], "data_offsets": [0, huge]}}),
        8,
        "more bytes than there can be",
    );
}

#[test]
fn a_configuration_that_asks_for_all_memory_gets_none() {
    let folder = tempfile::tempdir().unwrap();
    let held = foreign_folder(folder.path(), |_| ());
    let mut fields: Value =
        serde_json::from_str(&fs::read_to_string(folder.path().join("config.json")).unwrap())
            .unwrap();
    // Within what a model may have, and far beyond what the file has: 4 GB.
    fields["hidden_sizes"] = json!([10_000, 10_000]);
    fs::write(folder.path().join("config.json"), fields.to_string()).unwrap();
    let error = held.load_model().unwrap_err();
    assert!(matches!(error, Error::WrongSize { .. }), "{error}");
    fields["hidden_sizes"] = json!([u64::MAX, u64::MAX]);
    fs::write(folder.path().join("config.json"), fields.to_string()).unwrap();
    let error = held.load_model().unwrap_err();
    assert!(matches!(error, Error::Model { .. }), "{error}");
}

#[test]
fn a_configuration_of_a_later_version_is_said_to_be_one() {
    let folder = tempfile::tempdir().unwrap();
    let held = foreign_folder(folder.path(), |_| ());
    let path = folder.path().join("config.json");
    let check = |text: &str, expected: &str| {
        fs::write(&path, text).unwrap();
        let error = held.load_model().unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.hint().is_some());
    };
    check(
        r#"{"format_version":2,"kind":"chorus"}"#,
        "has format version 2: this program reads version 1",
    );
    check(
        r#"{"format_version":"one"}"#,
        "has format version \"one\": this program reads version 1",
    );
    check(
        r#"{"format_version":1,"kind":"chorus"}"#,
        "holds a \"chorus\": expected a language-model",
    );
    check(r#"{"format_version":1,"kind":"language-model"}"#, "is not what this program writes");
    check(r#"{"kind":"language-model"}"#, "is not what this program writes");
    check("{", "is not what this program writes");
    check(&" ".repeat((1 << 20) + 1), "has 1048577 bytes: expected at most 1048576");
}

#[test]
fn a_tokenizer_of_another_size_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let held = foreign_folder(folder.path(), |_| ());
    let path = folder.path().join("tokenizer.json");
    fs::write(&path, tokenizer_json().replace(",\"d\":4", "")).unwrap();
    let error = held.load_model().unwrap_err();
    assert!(matches!(error, Error::VocabularySize { tokenizer: 4, model: 5, .. }), "{error}");
    fs::write(&path, "{}").unwrap();
    assert!(matches!(held.load_model(), Err(Error::Tokenizer { .. })));
}

#[test]
fn weights_of_a_later_version_are_said_to_be_so() {
    let folder = tempfile::tempdir().unwrap();
    let held = saved_run(folder.path());
    let path = folder.path().join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let key = br#""recurra.format":"1""#;
    let place = bytes.windows(key.len()).position(|window| window == key).unwrap() + key.len() - 2;
    bytes[place] = b'2';
    fs::write(&path, &bytes).unwrap();
    assert!(
        matches!(held.load_model(), Err(Error::Altered { .. })),
        "the digest still is that of version 1"
    );
    put_digest(&mut bytes);
    fs::write(&path, &bytes).unwrap();
    let error = held.load_model().unwrap_err();
    assert!(
        error.to_string().ends_with("has format version 2: this program reads version 1"),
        "{error}"
    );
}

#[test]
fn a_model_of_another_configuration_is_named_by_its_tensor() {
    let folder = tempfile::tempdir().unwrap();
    let mut sizes = config();
    sizes.hidden_sizes = vec![3, 3];
    let held = foreign_folder(folder.path(), |_| ());
    let text = fs::read_to_string(folder.path().join("config.json")).unwrap();
    let mut fields: Value = serde_json::from_str(&text).unwrap();
    fields["hidden_sizes"] = json!(sizes.hidden_sizes);
    fs::write(folder.path().join("config.json"), fields.to_string()).unwrap();
    let error = held.load_model().unwrap_err();
    assert!(
        matches!(&error, Error::WrongShape { tensor, .. } if tensor == "output.weight"),
        "{error}"
    );
}

#[test]
fn weights_that_are_no_finite_numbers_are_refused_by_name() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        check_refused(
            |tensors| {
                let (_, _, bytes) = tensors.get_mut("output.bias").unwrap();
                let last = bytes.len() - size_of::<f32>();
                bytes[last..].copy_from_slice(&bad.to_le_bytes());
            },
            "tensor `output.bias` in `PATH` holds what is no finite number",
        );
    }
}

#[test]
fn a_network_that_cannot_be_is_refused_before_its_sizes_are_used() {
    let folder = tempfile::tempdir().unwrap();
    let held = foreign_folder(folder.path(), |_| ());
    for fields in [
        json!({"cell": "mlstm", "heads": 7}),
        json!({"cell": "transformer", "context": 1u64 << 60}),
    ] {
        let path = folder.path().join("config.json");
        let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        config.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        fs::write(&path, config.to_string()).unwrap();
        for error in [held.load_model().unwrap_err(), held.describe_model().unwrap_err()] {
            assert!(matches!(error, Error::Model { .. }), "{fields}: {error}");
        }
    }
}
