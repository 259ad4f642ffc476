//! Every source and format of text, good and bad.

use super::outlet::CHUNK_BYTES;
use super::*;
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use std::io::Write;
use tempfile::TempDir;

/// A folder with these files.
fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    folder
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

fn all(text: &Text) -> Result<String> {
    let mut all = String::new();
    text.for_each_chunk(&mut |chunk| {
        assert!(!chunk.is_empty() && chunk.len() <= CHUNK_BYTES, "{} bytes", chunk.len());
        all.push_str(chunk);
        Ok(())
    })?;
    Ok(all)
}

fn read(path: PathBuf, options: &TextOptions) -> Result<String> {
    all(&Text::open(&[path], options)?)
}

/// A file of this name and content reads as `expected`.
#[track_caller]
fn check(name: &str, bytes: &[u8], options: &TextOptions, expected: &str) {
    let folder = folder(&[(name, bytes)]);
    assert_eq!(read(folder.path().join(name), options).unwrap(), expected, "{name}");
}

/// A file of this name and content is an error with this message and this in its hint.
#[track_caller]
fn check_error(name: &str, bytes: &[u8], message: &str, hint: &str) {
    let folder = folder(&[(name, bytes)]);
    let path = folder.path().join(name);
    let error = read(path.clone(), &TextOptions::default()).unwrap_err();
    let full = path.display().to_string();
    assert_eq!(error.to_string().replace(&full, name), message);
    assert!(error.hint().unwrap_or_default().contains(hint), "{:?}", error.hint());
}

#[test]
fn reads_every_format_and_packing() {
    let options = TextOptions::default();
    let text = "so much depends\nupon 車\n".as_bytes();
    let expected = "so much depends\nupon 車\n";
    check("a.txt", text, &options, expected);
    check("a", text, &options, expected);
    check("a.txt.gz", &gzip(text), &options, expected);
    check("a.zst", &zstd(text), &options, expected);
    let lines = b"{\"id\": 1, \"text\": \"one\"}\n\n{\"text\": \"two\\n\", \"more\": [1, {}]}\r\n{\"text\":\"\"}\n{\"text\":\"three\"}";
    check("a.jsonl", lines, &options, "one\ntwo\nthree");
    check("a.ndjson.gz", &gzip(lines), &options, "one\ntwo\nthree");
    check("a.jsonl.zst", &zstd(lines), &options, "one\ntwo\nthree");
    check(
        "a.csv",
        b"id,text\n1,one\n2,\"two, \"\"2\"\"\nlines\"\n",
        &options,
        "one\ntwo, \"2\"\nlines",
    );
    check("a.tsv", b"text\tid\none \"open\t1\ntwo\t2\n", &options, "one \"open\ntwo");
    check("a.CSV.GZ", &gzip(b"\xEF\xBB\xBFtext\none\n"), &options, "one");
}

#[test]
fn packed_files_may_be_concatenated() {
    let options = TextOptions::default();
    check("a.gz", &[gzip(b"one "), gzip(b"two")].concat(), &options, "one two");
    let skippable = b"\x50\x2A\x4D\x18\x03\x00\x00\x00abc".to_vec();
    let frames = [zstd(b"one "), skippable, zstd(b""), zstd(b"two")].concat();
    check("a.zst", &frames, &options, "one two");
}

#[test]
fn the_field_and_the_column_can_be_named() {
    let options = TextOptions {
        field: Some("body".into()),
        column: Some("Body".into()),
        ..TextOptions::default()
    };
    check("a.jsonl", b"{\"text\": \"no\", \"body\": \"yes\"}", &options, "yes");
    check("a.csv", b"text,Body\nno,yes\n", &options, "yes");
}

#[test]
fn a_field_that_is_missing_or_no_text_says_what_is_there() {
    check_error(
        "a.jsonl",
        b"{\"text\": \"one\"}\n{\"id\": 1, \"body\": \"two\"}\n",
        "`a.jsonl` line 2 has no field `text`, it has `id`, `body`",
        "--field id",
    );
    check_error(
        "a.jsonl",
        b"\n{\"text\": [1]}\n",
        "`a.jsonl` line 2: expected a string in field `text`, came a list",
        "plain text",
    );
    for (value, kind) in [
        ("null", "null"),
        ("true", "a truth value"),
        ("-1", "a number"),
        ("1", "a number"),
        ("1e3", "a number"),
        ("{\"text\": \"inner\"}", "an object"),
    ] {
        check_error(
            "a.jsonl",
            format!("{{\"text\": {value}, \"b\": 1}}\n").as_bytes(),
            &format!("`a.jsonl` line 1: expected a string in field `text`, came {kind}"),
            "plain text",
        );
    }
    check_error(
        "a.csv",
        &[b','; 2 << 20],
        "`a.csv` line 1: the row is longer than 1 MiB, is a quote left open?",
        "correct that line",
    );
    check_error(
        "a.csv",
        b"id,body\n1,two\n",
        "`a.csv` line 1 has no column `text`, it has `id`, `body`",
        "--column id",
    );
    check_error(
        "a.tsv",
        b"id\ttext\n1\tone\n2\n",
        "`a.tsv` line 3: expected 2 columns as in the first line, came 1",
        "correct that line",
    );
    check_error(
        "a.jsonl",
        b"{\"text\": \"\"}\n[1]\n",
        "`a.jsonl` line 2: expected a JSON object, invalid type: sequence, expected an object at column 0",
        "correct that line",
    );
}

#[test]
fn bytes_that_are_not_utf_8_are_named_with_offset_and_line() {
    let long = [&b"line\n".repeat(30_000)[..], b"caf\xE9\n"].concat();
    let message = "`a.txt` is not UTF-8 at byte 150003 (line 30001): expected text, came 0xE9";
    check_error("a.txt", &long, message, "--lossy");
    let message = message.replace("a.txt", "a.txt.gz");
    check_error("a.txt.gz", &gzip(&long), &message, "--lossy");
    let message = "`a.txt` is not UTF-8 at byte 3 (line 2): expected text, came 0xE7";
    check_error("a.txt", b"ok\n\xE7\x8E", message, "--lossy");
    let message = "`a.jsonl` is not UTF-8 at byte 25 (line 2): expected text, came 0xFF";
    check_error("a.jsonl", b"{\"text\": \"one\"}\n{\"text\":\"\xFF\"}", message, "--lossy");
    let message = "column `text` of `a.csv` is not UTF-8 (row at line 3): expected text, came 0xE9";
    check_error("a.csv", b"id,text\n1,\"one\"\n2,\"b\n,caf\xE9\"\n", message, "--lossy");
    let message = "`a.txt` is not UTF-8 at byte 0 (line 1): expected text, came 0xFF";
    check_error("a.txt", b"\xFF\xFEa\0b\0", message, "iconv -f UTF-16");
    let message = "`a.txt` is not UTF-8 at byte 1 (line 1): expected text, came 0x8B";
    check_error("a.txt", &gzip(b"packed"), message, "it looks like gzip");
}

#[test]
fn lossy_goes_on_after_bytes_that_are_not_utf_8() {
    let options = TextOptions { lossy: true, ..TextOptions::default() };
    check("a.txt", b"caf\xE9 au lait \xE7\x8E", &options, "caf\u{FFFD} au lait \u{FFFD}");
    check("a.jsonl", b"{\"text\": \"caf\xE9\"}", &options, "caf\u{FFFD}");
    check("a.csv", b"text\ncaf\xE9\n", &options, "caf\u{FFFD}");
}

#[test]
fn damaged_files_are_errors() {
    let text: String = (0..20_000).map(|i| format!("{} ", i * 7919 % 10_007)).collect();
    for (name, packed) in [("a.gz", gzip(text.as_bytes())), ("a.zst", zstd(text.as_bytes()))] {
        let mut altered = packed.clone();
        altered[packed.len() / 2] ^= 0x10;
        for (what, bytes) in [("cut", &packed[..packed.len() - 3]), ("altered", &altered)] {
            let folder = folder(&[(name, bytes)]);
            let error = read(folder.path().join(name), &TextOptions::default());
            assert!(error.is_err(), "{name} {what}: {} bytes", error.unwrap().len());
        }
    }
    let folder = folder(&[("a.zst", b"no zstd at all")]);
    let error = read(folder.path().join("a.zst"), &TextOptions::default()).unwrap_err();
    assert_eq!(
        error.hint().unwrap(),
        "the file is damaged or not in the format that its name says"
    );
}

#[test]
fn folders_are_walked_in_order() {
    let folder = folder(&[
        ("b.txt", b"b"),
        ("a/two.md", b"a2\n"),
        ("a/one.txt", b"a1"),
        (".hidden", b"no"),
        (".git/config", b"no"),
        ("picture.png", b"\x89PNG\0\0"),
        ("c.bin.gz", &gzip(b"\0\0")),
        ("d.jsonl", b"{\"text\": \"d\"}"),
    ]);
    let path = folder.path().to_path_buf();
    let text = Text::open(std::slice::from_ref(&path), &TextOptions::default()).unwrap();
    assert_eq!(all(&text).unwrap(), "a1\na2\nb\nd");
    assert_eq!(text.describe(), format!("`{}` (4 files)", path.display()));
    let include = |patterns: &[&str]| TextOptions {
        include: patterns.iter().map(|p| p.to_string()).collect(),
        ..TextOptions::default()
    };
    assert_eq!(read(path.clone(), &include(&["*.md", "d.*"])).unwrap(), "a2\nd");
    assert_eq!(read(path.clone(), &include(&["a/*"])).unwrap(), "a1\na2\n");
    assert_eq!(read(path.clone(), &include(&["**/one.*"])).unwrap(), "a1");
    let error = read(path.clone(), &include(&["*.rst"])).unwrap_err();
    assert!(error.to_string().ends_with("holds no text file (6 other files skipped)"), "{error}");
    assert!(error.hint().unwrap().contains("--include"));
    let error = read(path.clone(), &include(&["[a"])).unwrap_err();
    assert!(matches!(error, Error::Pattern { .. }), "{error}");
    // Named directly, a file with a NUL is text like any other.
    check("n.txt", b"a\0b", &TextOptions::default(), "a\0b");
}

#[cfg(unix)]
#[test]
fn links_that_lead_in_circles_do_not_hang() {
    let folder = folder(&[("a/x.txt", b"x"), ("y.txt", b"y")]);
    std::os::unix::fs::symlink(folder.path(), folder.path().join("a/up")).unwrap();
    std::os::unix::fs::symlink("nowhere", folder.path().join("broken.txt")).unwrap();
    assert_eq!(read(folder.path().into(), &TextOptions::default()).unwrap(), "x\ny");
}

#[test]
fn nothing_to_read_is_an_error() {
    check_error("a.txt", b"", "`a.txt` holds no text", "give a file with text");
    check_error(
        "a.jsonl",
        b"\n{\"text\": \"\"}\n",
        "`a.jsonl` holds no text",
        "give a file with text",
    );
    check_error("a.gz", &gzip(b""), "`a.gz` holds no text", "give a file with text");
    check_error("a.csv", b"text\n", "`a.csv` holds no text", "give a file with text");
    let empty = folder(&[]);
    let error = read(empty.path().into(), &TextOptions::default()).unwrap_err();
    assert!(matches!(error, Error::NoTextFiles { skipped: 0, filtered: false, .. }), "{error}");
    let error = Text::from_string("nothing", String::new()).measure().unwrap_err();
    assert_eq!(error.to_string(), "`nothing` holds no text");
}

#[test]
fn a_missing_file_suggests_the_nearest() {
    let folder = folder(&[("input.txt", b"text")]);
    let error = read(folder.path().join("inptu.txt"), &TextOptions::default()).unwrap_err();
    assert!(error.hint().unwrap().ends_with("input.txt`?"), "{:?}", error.hint());
    let error = read(folder.path().join("else"), &TextOptions::default()).unwrap_err();
    assert!(error.hint().unwrap().contains("standard input"), "{:?}", error.hint());
}

#[test]
fn standard_input_can_be_read_again_and_again() {
    let folder = folder(&[("a.txt", b"from a file")]);
    let paths = [PathBuf::from("-"), folder.path().join("a.txt")];
    let text =
        Text::open_with(&paths, &TextOptions::default(), &mut "from a pipe".as_bytes()).unwrap();
    for _ in 0..2 {
        assert_eq!(all(&text).unwrap(), "from a pipe\nfrom a file");
    }
    assert_eq!(text.describe(), "standard input and 1 more");
    let open = |paths: &[PathBuf], bytes: &[u8]| {
        Text::open_with(paths, &TextOptions::default(), &mut &*bytes).unwrap_err().to_string()
    };
    assert_eq!(open(&["-".into()], b""), "`standard input` holds no text");
    let twice = ["-".into(), "-".into()];
    assert_eq!(open(&twice, b"x"), "standard input (`-`) is named 2 times, expected once");
    let wrong = Text::open_with(&paths[..1], &TextOptions::default(), &mut &b"a\n\xFF"[..]);
    let message = "`standard input` is not UTF-8 at byte 2 (line 2): expected text, came 0xFF";
    assert_eq!(wrong.unwrap_err().to_string(), message);
}

#[test]
fn measure_counts_as_wc_does() {
    let text = Text::from_string("t", "so much  depends\n\nupon\u{3000}a 紅 wheel".into());
    let stats = text.measure().unwrap();
    let expected = (36, 32, 3, 2, 7);
    assert_eq!((stats.bytes, stats.chars, stats.lines, stats.line_ends, stats.words), expected);
    let sha256 = hex(&Sha256::digest("so much  depends\n\nupon\u{3000}a 紅 wheel"));
    assert_eq!(stats.sha256_hex(), sha256);
    assert_eq!(stats.words_and_line_ends(), 9);
}

#[test]
fn counts_are_remembered_until_a_file_changes() {
    let folder = folder(&[("a.txt", b"one two three")]);
    let (path, cache) = (folder.path().join("a.txt"), folder.path().join("cache"));
    let open = || Text::open(std::slice::from_ref(&path), &TextOptions::default()).unwrap();
    let age = |seconds| {
        let then = SystemTime::now() - Duration::from_secs(seconds);
        fs::File::options().write(true).open(&path).unwrap().set_modified(then).unwrap();
    };
    let measured = open().measure_cached(&cache).unwrap();
    assert_eq!(open().known_stats(&cache), None, "a file that was just written may change unseen");
    age(100);
    assert_eq!(open().measure_cached(&cache).unwrap(), measured);
    assert_eq!(open().known_stats(&cache), Some(measured.clone()));
    let lossy = TextOptions { lossy: true, ..TextOptions::default() };
    let other = Text::open(std::slice::from_ref(&path), &lossy).unwrap();
    assert_eq!(other.known_stats(&cache), None);
    fs::write(&path, "one two thre3").unwrap();
    age(50);
    assert_ne!(open().measure_cached(&cache).unwrap(), measured);
    for entry in fs::read_dir(&cache).unwrap() {
        fs::write(entry.unwrap().path(), "damaged").unwrap();
    }
    assert_eq!(open().measure_cached(&cache).unwrap().words, 3);
    // Another file of the same length in its place, once it was read.
    let text = open();
    text.measure().unwrap();
    fs::write(&path, "one two fou4").unwrap();
    age(200);
    text.remember_stats(&cache);
    assert_eq!(open().known_stats(&cache), None);
}

#[test]
fn counts_that_are_remembered_wrong_are_found_out_once() {
    let folder = folder(&[("a.txt", b"one two three")]);
    let (path, cache) = (folder.path().join("a.txt"), folder.path().join("cache"));
    let open = || Text::open(std::slice::from_ref(&path), &TextOptions::default()).unwrap();
    let then = SystemTime::now() - Duration::from_secs(100);
    fs::File::options().write(true).open(&path).unwrap().set_modified(then).unwrap();
    let measured = open().measure_cached(&cache).unwrap();
    let entry = fs::read_dir(&cache).unwrap().next().unwrap().unwrap().path();
    let wrong = TextStats { sha256: [7; 32], ..measured.clone() };
    fs::write(&entry, serde_json::to_vec(&wrong).unwrap()).unwrap();
    let read = |text: Text| {
        assert!(text.known_stats(&cache).is_some() || !entry.exists());
        text.scan(&mut |_| Ok(Flow::Continue(())))
    };
    assert!(matches!(read(open()), Err(Error::Changed { .. })));
    assert_eq!(read(open()).unwrap(), measured);
}

#[test]
fn a_text_that_changes_between_two_passes_is_an_error() {
    let folder = folder(&[("a.txt", b"one two three")]);
    let path = folder.path().join("a.txt");
    let text = Text::open(std::slice::from_ref(&path), &TextOptions::default()).unwrap();
    text.measure().unwrap();
    fs::write(&path, "one two thre3").unwrap();
    let error = text.scan(&mut |_| Ok(Flow::Continue(()))).unwrap_err();
    assert!(matches!(error, Error::Changed { .. }), "{error}");
}

#[track_caller]
fn check_split(text: &str, fraction: f64, first: &str, last: &str) {
    let folder = folder(&[("a.txt", text.as_bytes()), ("a.gz", &gzip(text.as_bytes()))]);
    let open = |name| Text::open(&[folder.path().join(name)], &TextOptions::default()).unwrap();
    for whole in [Text::from_string("t", text.into()), open("a.txt"), open("a.gz")] {
        let (a, b) = whole.split_last(fraction).unwrap();
        assert_eq!((all(&a).unwrap().as_str(), all(&b).unwrap().as_str()), (first, last));
        assert_eq!(
            (a.measure().unwrap().bytes, b.measure().unwrap().bytes),
            (first.len() as u64, last.len() as u64)
        );
    }
}

#[test]
fn split_last_cuts_at_a_character() {
    check_split("abcdefghij", 0.1, "abcdefghi", "j");
    check_split("abcdefghij", 0.9, "a", "bcdefghij");
    check_split("abcdefghij", 0.25, "abcdefg", "hij");
    check_split("紅紅紅紅", 0.5, "紅紅", "紅紅");
    check_split("紅紅紅紅", 0.6, "紅紅", "紅紅");
    check_split("紅紅紅紅", 0.4, "紅紅紅", "紅");
    for fraction in [0.0, 1.0, -0.1, f64::NAN, f64::INFINITY] {
        let error = Text::from_string("t", "abc".into()).split_last(fraction).unwrap_err();
        assert!(matches!(error, Error::Split { .. }), "{fraction}: {error}");
    }
    for text in ["a", "紅"] {
        let error = Text::from_string("t", text.into()).split_last(0.5).unwrap_err();
        assert!(error.to_string().ends_with("one part would be empty"), "{text}: {error}");
    }
    let whole = Text::from_string("t", "abcdefghij".into());
    let (first, _) = whole.split_last(0.1).unwrap();
    let (_, middle) = first.split_last(0.2).unwrap();
    assert_eq!(all(&middle).unwrap(), "hi");
    assert_eq!(first.describe(), "the first 90 % of `t`");
}

fn documents() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("(\\PC|\n| |紅){0,12}", 1..5)
}

proptest! {
    #[test]
    fn counts_agree_with_the_plain_way(text in "(\\PC|[ \n\t\r\u{85}\u{A0}\u{2003}\u{3000}]|[a-z]{1,300}){1,40}") {
        let stats = Text::from_string("t", text.clone()).measure().unwrap();
        prop_assert_eq!(stats.words, text.split_whitespace().count() as u64);
        prop_assert_eq!(stats.chars, text.chars().count() as u64);
        prop_assert_eq!(stats.lines, text.lines().count() as u64);
        prop_assert_eq!(stats.line_ends, text.matches('\n').count() as u64);
    }

    #[test]
    fn files_are_joined_by_line_ends_and_split_anywhere(documents in documents(), fraction in 0.01..0.99) {
        let mut joined = String::new();
        for document in &documents {
            if !joined.is_empty() && !joined.ends_with('\n') && !document.is_empty() {
                joined.push('\n');
            }
            joined.push_str(document);
        }
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> = (0..documents.len())
            .map(|i| folder.path().join(format!("{i}.{}", ["txt", "gz"][i % 2])))
            .collect();
        for (i, (path, document)) in paths.iter().zip(&documents).enumerate() {
            let packed = gzip(document.as_bytes());
            fs::write(path, if i % 2 == 0 { document.as_bytes() } else { &packed }).unwrap();
        }
        let opened = Text::open(&paths, &TextOptions::default());
        if joined.is_empty() {
            let is_empty = matches!(opened, Err(Error::Empty { .. }));
            prop_assert!(is_empty);
            return Ok(());
        }
        let text = opened.unwrap();
        prop_assert_eq!(&all(&text).unwrap(), &joined);
        if let Ok((first, last)) = text.split_last(fraction) {
            let (first, last) = (all(&first).unwrap(), all(&last).unwrap());
            let mut cut = ((1.0 - fraction) * joined.len() as f64) as usize;
            while !joined.is_char_boundary(cut) {
                cut += 1;
            }
            prop_assert_eq!((first.as_str(), last.as_str()), joined.split_at(cut));
        }
    }

    #[test]
    fn lossy_reading_agrees_with_the_standard_library(bytes in prop::collection::vec(prop_oneof![Just(b'a'), any::<u8>(), 0x80..=0xF4u8], 1..200)) {
        let folder = folder(&[("a.txt", &bytes)]);
        let options = TextOptions { lossy: true, ..TextOptions::default() };
        prop_assert_eq!(read(folder.path().join("a.txt"), &options).unwrap(), String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn long_texts_come_in_chunks_cut_between_characters() {
    let text = "x紅é🚗".repeat(40_000);
    assert_eq!(all(&Text::from_string("t", text.clone())).unwrap(), text);
    check("a.txt", text.as_bytes(), &TextOptions::default(), &text);
    let invalid = [text.as_bytes(), b"\xF0\x9F", text.as_bytes()].concat();
    let lossy = TextOptions { lossy: true, ..TextOptions::default() };
    check("b.txt", &invalid, &lossy, &format!("{text}\u{FFFD}{text}"));
}

#[test]
fn a_text_has_a_title_without_its_folders() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("private").join("novel.txt");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "a b c d e f g h i j").unwrap();
    let text = Text::open(std::slice::from_ref(&path), &TextOptions::default()).unwrap();
    assert_eq!(text.describe(), format!("`{}`", path.display()));
    assert_eq!(text.title(), "`novel.txt`");
    assert_eq!(text.split_last(0.1).unwrap().1.title(), "the last 10 % of `novel.txt`");
    let whole = Text::open(&[folder.path().join("private")], &TextOptions::default()).unwrap();
    assert_eq!(whole.title(), "`private`");
}

#[test]
fn reading_ends_where_it_is_stopped() {
    let stop = Arc::new(AtomicBool::new(false));
    let text = Text::from_string("a text", "ten bytes\n".repeat(100_000)).stopped_by(&stop);
    let (first, _) = text.split_last(0.5).unwrap();
    let mut n_chunks = 0;
    let stopped = first.for_each_chunk(&mut |_| {
        n_chunks += 1;
        stop.store(n_chunks == 3, Ordering::Relaxed);
        Ok(())
    });
    assert!(matches!(stopped, Err(Error::Stopped { .. })), "{stopped:?}");
    assert_eq!(n_chunks, 3);
}
