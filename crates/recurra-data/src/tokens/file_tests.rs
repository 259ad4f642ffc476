//! Token files: the same ids as the tokenizer gives, whole or not at all.

use super::*;
use crate::TokenizerSpec;
use proptest::prelude::*;
use tempfile::TempDir;

fn text(n_words: usize) -> Text {
    let text =
        (0..n_words).map(|i| format!("w{} {}", i * i % 1009, if i % 7 == 0 { "\n" } else { "" }));
    Text::from_string("t", text.collect())
}

fn tokenizer(spec: &str, text: &Text) -> Tokenizer {
    Tokenizer::train(&spec.parse().unwrap(), text).unwrap()
}

fn ids(file: &TokenFile) -> Vec<u32> {
    let mut ids = vec![0; file.len()];
    file.read(0, &mut ids);
    ids
}

fn all(text: &Text) -> String {
    let mut all = String::new();
    text.for_each_chunk(&mut |chunk| {
        all.push_str(chunk);
        Ok(())
    })
    .unwrap();
    all
}

/// The token files in a folder, and whatever is there besides.
fn files(cache: &TempDir) -> Vec<PathBuf> {
    let mut paths: Vec<_> =
        fs::read_dir(cache.path()).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn the_cache_folder_follows_the_environment() {
    let check = |set: &[(&str, &str)], home: Option<&str>, expected: &Path| {
        let variable = |name: &str| Some(set.iter().find(|(n, _)| *n == name)?.1.into());
        assert_eq!(cache_dir_of(variable, home.map(PathBuf::from)), expected, "{set:?}");
    };
    let both = [("RECURRA_CACHE", "here"), ("XDG_CACHE_HOME", "/xdg")];
    check(&both, Some("/house/a"), Path::new("here"));
    check(&both[1..], Some("/house/a"), Path::new("/xdg/recurra"));
    let useless = [("RECURRA_CACHE", ""), ("XDG_CACHE_HOME", "relative")];
    check(&useless, Some("/house/a"), Path::new("/house/a/.cache/recurra"));
    check(&[], None, &env::temp_dir().join("recurra"));
}

#[test]
fn holds_the_ids_and_counts_of_the_text() {
    let cache = tempfile::tempdir().unwrap();
    let text = text(3000);
    let wide = r#"{"version": "1.0", "pre_tokenizer": {"type": "WhitespaceSplit"},
        "model": {"type": "WordLevel", "vocab": {"w0": 70000, "[UNK]": 1}, "unk_token": "[UNK]"}}"#;
    let tokenizers = ["byte", "char", "word", "bpe:300"]
        .map(|spec| tokenizer(spec, &text))
        .into_iter()
        .chain([Tokenizer::from_json(wide).unwrap()]);
    let mut widths = Vec::new();
    for tokenizer in tokenizers {
        let built = TokenFile::open_or_build(cache.path(), &text, &tokenizer).unwrap();
        let opened = TokenFile::open_or_build(cache.path(), &text, &tokenizer).unwrap();
        let expected = tokenizer.encode(&all(&text)).unwrap();
        assert!(ids(&built) == expected && ids(&opened) == expected, "{tokenizer:?}");
        let stats = text.measure().unwrap();
        assert_eq!(opened.n_bytes(), stats.bytes);
        assert_eq!(
            (opened.n_chars(), opened.n_words()),
            (stats.chars, stats.words + stats.line_ends)
        );
        assert_eq!(opened.text_sha256(), stats.sha256_hex());
        widths.push(opened.inner.header.width);
    }
    assert_eq!(widths, [1, 2, 2, 2, 4]);
    assert_eq!(files(&cache).len(), 5, "nothing but the token files is left: {:?}", files(&cache));
}

#[test]
fn a_second_run_builds_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (path, cache) = (folder.path().join("a.txt"), folder.path().join("cache"));
    fs::write(&path, all(&text(500))).unwrap();
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(100);
    File::options().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
    let open = || Text::open(std::slice::from_ref(&path), &crate::TextOptions::default()).unwrap();
    let byte = tokenizer("byte", &open());
    TokenFile::open_or_build(&cache, &open(), &byte).unwrap();
    // A text whose counts are known from its file's time of change alone is not read again.
    let text = open();
    assert!(text.known_stats(&cache).is_some());
    let name = format!("{}-{}.tokens", open().measure().unwrap().sha256_hex(), byte.hash());
    let written = fs::metadata(cache.join(&name)).unwrap().modified().unwrap();
    TokenFile::open_or_build(&cache, &text, &byte).unwrap();
    assert_eq!(fs::metadata(cache.join(&name)).unwrap().modified().unwrap(), written);
}

#[test]
fn every_damage_is_found_and_repaired() {
    let cache = tempfile::tempdir().unwrap();
    let text = text(200);
    let word = tokenizer("word", &text);
    let expected = ids(&TokenFile::open_or_build(cache.path(), &text, &word).unwrap());
    let path = files(&cache).remove(0);
    let whole = fs::read(&path).unwrap();
    for cut in (0..whole.len()).step_by(3) {
        fs::write(&path, &whole[..cut]).unwrap();
        assert!(TokenFile::open(&path).unwrap().is_none(), "cut at {cut}");
    }
    for at in 0..whole.len() {
        let mut altered = whole.clone();
        altered[at] ^= 1 << (at % 8);
        fs::write(&path, &altered).unwrap();
        assert!(TokenFile::open(&path).unwrap().is_none(), "altered at {at}");
    }
    fs::write(&path, [&whole[..], b"x"].concat()).unwrap();
    let repaired = TokenFile::open_or_build(cache.path(), &text, &word).unwrap();
    assert!(ids(&repaired) == expected && fs::read(&path).unwrap() == whole);
    // A whole file of another text under this name is not taken either.
    let other = Text::from_string("other", "w1 w2 w4".into());
    TokenFile::open_or_build(cache.path(), &other, &word).unwrap();
    let other_path = files(&cache).into_iter().find(|p| *p != path).unwrap();
    fs::copy(other_path, &path).unwrap();
    assert_eq!(ids(&TokenFile::open_or_build(cache.path(), &text, &word).unwrap()), expected);
}

#[test]
fn a_header_that_lies_takes_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tokens");
    let text = Text::from_string("t", "text".into());
    let byte = tokenizer("byte", &text);
    for tokens in [u64::MAX, u64::MAX / 4, 1 << 40, 5, 3] {
        let header = Header::new(tokens, &text.measure().unwrap(), &byte);
        fs::write(&path, [&header.to_bytes(0)[..], b"text", &[0; 4]].concat()).unwrap();
        assert!(TokenFile::open(&path).unwrap().is_none(), "{tokens}");
    }
}

#[test]
fn several_threads_build_the_same_file_at_once() {
    let cache = tempfile::tempdir().unwrap();
    let text = text(20_000);
    let word = tokenizer("word", &text);
    let expected = word.encode(&all(&text)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                // Each with a text of its own, as processes have.
                let text = Text::from_string("t", all(&text));
                let file = TokenFile::open_or_build(cache.path(), &text, &word).unwrap();
                assert!(ids(&file) == expected);
            });
        }
    });
    assert_eq!(files(&cache).len(), 1);
}

#[test]
fn a_file_stays_readable_when_it_is_replaced() {
    let cache = tempfile::tempdir().unwrap();
    let text = text(300);
    let byte = tokenizer("byte", &text);
    let file = TokenFile::open_or_build(cache.path(), &text, &byte).unwrap();
    let before = ids(&file);
    fs::remove_file(&files(&cache)[0]).unwrap();
    TokenFile::open_or_build(cache.path(), &text, &byte).unwrap();
    assert_eq!(ids(&file), before);
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let text = text(10);
    let error = TokenFile::open_or_build(&file.join("cache"), &text, &tokenizer("byte", &text))
        .unwrap_err();
    assert!(matches!(error, Error::Write { .. }), "{error}");
    assert!(error.hint().unwrap().contains("RECURRA_CACHE"));
}

#[test]
fn what_was_left_half_written_is_removed_after_a_day() {
    let cache = tempfile::tempdir().unwrap();
    let file = |name: &str, hours: u64| {
        let path = cache.path().join(name);
        let then = std::time::SystemTime::now() - Duration::from_secs(hours * 3600);
        File::create(&path).unwrap().set_modified(then).unwrap();
        path
    };
    let (old, new, other) =
        (file(".building-old", 30), file(".building-new", 1), file("other", 30));
    remove_abandoned(cache.path());
    assert!(!old.exists() && new.exists() && other.exists());
}

#[test]
#[should_panic(expected = "tokens 5..5+3 of 7")]
fn reading_beyond_the_end_is_a_fault() {
    let cache = tempfile::tempdir().unwrap();
    let text = Text::from_string("t", "sixteen".into());
    let file = TokenFile::open_or_build(cache.path(), &text, &tokenizer("byte", &text)).unwrap();
    file.read(5, &mut [0; 3]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_part_reads_as_it_was_written(start in 0usize..2000, count in 0usize..2000, stride in 1usize..4) {
        let cache = tempfile::tempdir().unwrap();
        let text = text(1000);
        let tokenizer = Tokenizer::train(&TokenizerSpec::Char, &text).unwrap();
        let file = TokenFile::open_or_build(cache.path(), &text, &tokenizer).unwrap();
        let expected = tokenizer.encode(&all(&text)).unwrap();
        prop_assert!(file.len() >= 4000);
        let mut out = vec![7; count * stride];
        file.read_strided(start, count, &mut out, stride);
        for (i, id) in out.iter().enumerate() {
            prop_assert_eq!(*id, if i % stride == 0 { expected[start + i / stride] } else { 7 });
        }
    }
}
