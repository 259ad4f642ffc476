//! Every tokenizer: lossless where it promises to be, the same whole and in pieces.

use super::*;
use proptest::prelude::*;
use std::str::FromStr;

/// Texts of every kind: scripts, emoji, combining marks, control characters, all sorts of white space, our own tokens.
const VARIED: [&str; 14] = [
    "so much depends\nupon\n\na red wheel\nbarrow\n",
    "  Leading, trailing and   many   spaces. \n \t\n",
    "紅色的手推車，多麼重要。\n白雞旁邊　雨水光亮\n",
    "👩‍👩‍👧‍👦 family, 🇨🇳 flag, 👍🏽 thumb\n",
    "e\u{301}a\u{308}\u{304} co\u{302}mbining \u{5E9}\u{5C1}\u{5DC}\u{5D5}\u{5DD} ن\u{64E}ص\n",
    "\0\u{1}\u{7}\u{8}\u{1B}[0m\u{7F}\u{85}\u{A0}\u{AD}\u{200B}\u{200D}\u{FEFF}\u{2028}\u{2029}x",
    "carriage\r\nreturns\rand\u{B}tabs\u{C}\t\u{1C}\u{1D}\u{1E}\u{1F}\r\n",
    "<unk> <eos> x<eos>y <eos><unk> <0x41> <0x0A>\n<eos>",
    "don't we'll they've I'm 'tis 1,000.50 3½ ²³ Ⅷ №\n",
    "fn main() { println!(\"{:?}\", 1_000u64 << 3); } // ok\n",
    "\n",
    "\n\n\nafter\n\n",
    "no line end",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𐍈 \u{10FFFF} \u{E000} \u{D7FF} \u{FFFD}\n",
];

/// The text that tokenizers in these tests are trained on: half of the varied ones, some often.
fn training_text() -> Text {
    let text: String = (0..40).map(|i| VARIED[i * i % VARIED.len()]).collect();
    Text::from_string("varied", text)
}

fn trained(spec: &str) -> Tokenizer {
    Tokenizer::train(&spec.parse().unwrap(), &training_text()).unwrap()
}

/// The same `tokenizer.json` run by the `tokenizers` crate.
fn generic(tokenizer: &Tokenizer) -> tokenizers::Tokenizer {
    tokenizers::Tokenizer::from_str(tokenizer.to_json()).unwrap()
}

fn streamed(tokenizer: &Tokenizer, text: String) -> Vec<u32> {
    let mut all = Vec::new();
    let sink = &mut |ids: &[u32]| {
        all.extend_from_slice(ids);
        Ok(())
    };
    tokenizer.encode_text(&Text::from_string("t", text), sink).unwrap();
    all
}

fn decoded_in_steps(tokenizer: &Tokenizer, ids: &[u32]) -> String {
    let mut decoder = tokenizer.decoder();
    let mut text = String::new();
    for &id in ids {
        text.push_str(decoder.push(id));
        // Saving and restoring at every id makes no difference.
        let state = serde_json::to_string(&decoder.state()).unwrap();
        decoder = tokenizer.decoder_from(serde_json::from_str(&state).unwrap()).unwrap();
    }
    text + &decoder.finish()
}

#[test]
fn our_files_mean_the_same_to_the_tokenizers_crate() {
    for spec in ["byte", "char", "word", "bpe:400"] {
        let ours = trained(spec);
        let theirs = generic(&ours);
        assert_eq!(ours.vocab_size(), theirs.get_vocab_size(true), "{spec}");
        for text in VARIED.iter().map(|t| t.to_string()).chain([VARIED.concat()]) {
            let ids = ours.encode(&text).unwrap();
            assert_eq!(ids, theirs.encode(&*text, false).unwrap().get_ids(), "{spec} {text:?}");
            assert_eq!(ours.decode(&ids), theirs.decode(&ids, false).unwrap(), "{spec} {text:?}");
        }
    }
}

#[test]
fn our_files_are_recognised_and_others_are_not() {
    for spec in ["byte", "char", "word"] {
        let ours = trained(spec);
        let pretty: Value = serde_json::from_str(ours.to_json()).unwrap();
        let pretty = serde_json::to_string_pretty(&pretty).unwrap();
        let again = Tokenizer::from_json(&pretty).unwrap();
        assert_eq!((again.kind(), again.to_json()), (spec, &*pretty));
        let text = VARIED.concat();
        assert_eq!(again.encode(&text).unwrap(), ours.encode(&text).unwrap());
        // The slightest difference means that the file is run as it says.
        let lower = r#""normalizer":{"type":"Lowercase"}"#;
        let written =
            serde_json::from_str::<Value>(ours.to_json()).unwrap()["normalizer"].to_string();
        let other = ours.to_json().replace(&format!(r#""normalizer":{written}"#), lower);
        assert_ne!(other, ours.to_json());
        let other = Tokenizer::from_json(&other).unwrap();
        assert_eq!(other.kind(), if spec == "word" { "unk-json" } else { "json" }, "{spec}");
        assert_eq!(other.encode("A").unwrap(), ours.encode("a").unwrap(), "{spec}");
    }
    assert_eq!(Tokenizer::from_json(trained("bpe:300").to_json()).unwrap().kind(), "bpe");
}

#[test]
fn byte_ids_are_the_bytes() {
    let tokenizer = trained("byte");
    let all: String = (0..0x80).map(|byte| char::from(byte as u8)).collect::<String>() + "é紅";
    assert_eq!(tokenizer.encode(&all).unwrap(), all.bytes().map(u32::from).collect::<Vec<_>>());
    assert_eq!(
        (tokenizer.vocab_size(), tokenizer.end_of_line_id(), tokenizer.unknown_id()),
        (256, Some(10), None)
    );
}

#[test]
fn char_ids_follow_the_bytes_in_order_of_code_points() {
    let text = Text::from_string("t", "ba紅a\n".into());
    let tokenizer = Tokenizer::train(&TokenizerSpec::Char, &text).unwrap();
    assert_eq!(tokenizer.encode("\nab紅").unwrap(), [256, 257, 258, 259]);
    assert_eq!(tokenizer.encode("c車").unwrap(), [0x63, 0xE8, 0xBB, 0x8A]);
    assert_eq!((tokenizer.vocab_size(), tokenizer.end_of_line_id()), (260, Some(256)));
}

#[test]
fn word_ids_follow_the_first_appearance() {
    let text = Text::from_string("t", "b a b <unk>\n\n c".into());
    let tokenizer = Tokenizer::train(&TokenizerSpec::Word, &text).unwrap();
    assert_eq!(tokenizer.encode("b a b <unk>\n\n c").unwrap(), [0, 1, 0, 2, 3, 3, 4]);
    assert_eq!(tokenizer.encode("c d").unwrap(), [4, 2]);
    assert_eq!((tokenizer.unknown_id(), tokenizer.end_of_line_id()), (Some(2), Some(3)));
    assert_eq!(tokenizer.decode(&[0, 1, 3, 3, 4, 0]), "b a\n\nc b");
    // A text without line ends and unknown words gets both tokens, so that nothing later fails.
    let tokenizer =
        Tokenizer::train(&TokenizerSpec::Word, &Text::from_string("t", "a".into())).unwrap();
    assert_eq!(tokenizer.encode("a\nz").unwrap(), [0, 1, 2]);
}

#[test]
fn long_texts_give_the_same_ids_by_several_threads() {
    // Words of all lengths, so that they lie across the borders of chunks and blocks.
    let text: String = (0..400_000u64)
        .map(|i| match i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56 {
            0..9 => "\n".into(),
            n @ 9..20 => "　 ".repeat(n as usize - 8),
            n => format!("{}{i} ", "紅é🚗x".repeat(n as usize % 3)),
        })
        .collect();
    assert!(text.len() > 3_000_000);
    let half = Text::from_string("t", text.chars().take(1_200_000).collect());
    for spec in ["byte", "char", "word"] {
        let tokenizer = Tokenizer::train(&spec.parse().unwrap(), &half).unwrap();
        assert_eq!(streamed(&tokenizer, text.clone()), tokenizer.encode(&text).unwrap(), "{spec}");
    }
    let words = Tokenizer::train(&TokenizerSpec::Word, &half).unwrap();
    let mut seen = Vec::new();
    for id in words.encode(&text.chars().take(100_000).collect::<String>()).unwrap() {
        if !seen.contains(&id) {
            seen.push(id);
        }
    }
    assert!(seen.is_sorted() && seen.len() > 1000, "ids do not follow the first appearance");
}

#[test]
fn bpe_is_the_same_whenever_it_is_trained_and_however_it_is_cut() {
    let text = VARIED.concat().repeat(300);
    let train = || {
        Tokenizer::train(&TokenizerSpec::Bpe(500), &Text::from_string("t", text.clone())).unwrap()
    };
    let tokenizer = train();
    assert_eq!(tokenizer.to_json(), train().to_json());
    assert_eq!(tokenizer.vocab_size(), 500);
    assert_eq!(tokenizer.kind(), "bpe");
    assert_eq!(streamed(&tokenizer, text.clone()), tokenizer.encode(&text).unwrap());
    assert_eq!(tokenizer.end_of_line_id().map(|id| tokenizer.decode(&[id])).as_deref(), Some("\n"));
}

#[test]
fn a_text_without_white_space_is_no_text_for_words() {
    let long = Text::from_string("t", "x".repeat(3 << 20));
    let error = Tokenizer::train(&TokenizerSpec::Word, &long).unwrap_err();
    assert_eq!(error.to_string(), "a word is longer than 1048576 bytes");
    assert!(error.hint().unwrap().contains("bpe:32000"));
    // Other tokenizers take it.
    assert_eq!(streamed(&trained("bpe:300"), "x".repeat(3 << 20)).len(), 3 << 20);
}

#[test]
fn errors_of_the_text_and_the_sink_come_through() {
    let tokenizer = trained("char");
    let text = Text::from_string("t", "x".repeat(5 << 20));
    let mut n_calls = 0;
    let stop = tokenizer.encode_text(&text, &mut |_| {
        n_calls += 1;
        Err(Error::Zero { what: "test" })
    });
    assert!(matches!(stop, Err(Error::Zero { what: "test" })) && n_calls == 1);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.txt");
    fs::write(&path, ["x".repeat(3 << 20).as_bytes(), b"\xFF"].concat()).unwrap();
    let text = Text::open(&[path], &crate::TextOptions::default()).unwrap();
    let error = tokenizer.encode_text(&text, &mut |_| Ok(())).unwrap_err();
    assert!(matches!(error, Error::InvalidUtf8 { offset: 0x30_0000, line: 1, .. }), "{error}");
}

/// A WordPiece vocabulary as BERT has it, with settings that must not cut a text short.
const WORD_PIECES: &str = r###"{"version": "1.0",
    "truncation": {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0},
    "padding": {"strategy": {"Fixed": 8}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"},
    "added_tokens": [{"id": 8, "content": "[SEP]", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
    "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true},
    "pre_tokenizer": {"type": "BertPreTokenizer"}, "post_processor": null,
    "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
    "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
        "vocab": {"[PAD]": 0, "[UNK]": 1, "a": 2, "rose": 3, "##s": 4, "is": 5, ".": 6, "##bud": 7}}}"###;

#[test]
fn a_tokenizer_from_elsewhere_runs_as_it_says() {
    let tokenizer = Tokenizer::from_json(WORD_PIECES).unwrap();
    assert_eq!((tokenizer.kind(), tokenizer.vocab_size()), ("unk-json", 9));
    assert_eq!((tokenizer.unknown_id(), tokenizer.end_of_line_id()), (Some(1), None));
    let ids = tokenizer.encode("A rose is a rosebud[SEP] roses tulip.").unwrap();
    assert_eq!(ids, [2, 3, 5, 2, 3, 7, 8, 3, 4, 1, 6]);
    assert_eq!(tokenizer.decode(&ids), "a rose is a rosebud [SEP] roses [UNK].");
    assert_eq!(decoded_in_steps(&tokenizer, &ids[..10]), "a rose is a rosebud [SEP] roses [UNK]");
    assert_eq!(tokenizer.token_text(7), "##bud");
    assert_eq!(tokenizer.to_json(), WORD_PIECES);
}

#[test]
fn files_that_are_no_tokenizer_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    let open = |content: &[u8]| {
        fs::write(&path, content).unwrap();
        Tokenizer::train(&TokenizerSpec::File(path.clone()), &training_text())
    };
    let byte_json = byte::to_json();
    let no_pieces = WORD_PIECES.replace("\"[UNK]\": 1,", "").replace("[SEP]", "");
    for content in ["", "{}", "[]", "{\"model\": 1}", &byte_json[..byte_json.len() / 2]] {
        let error = open(content.as_bytes()).unwrap_err();
        assert!(error.to_string().contains("tokenizer.json` is not a usable tokenizer"), "{error}");
    }
    assert!(open(b"\xFF").unwrap_err().to_string().ends_with("it is not UTF-8"));
    assert!(open(no_pieces.as_bytes()).unwrap().encode("tulip").is_err());
    // A merge shorter than the prefix makes the crate that reads it panic.
    let model = r###"{"type": "BPE", "continuing_subword_prefix": "##", "vocab": {"a": 0, "b": 1}, "merges": ["a b"]}"###;
    let error = open(format!(r#"{{"version": "1.0", "model": {model}}}"#).as_bytes()).unwrap_err();
    assert!(matches!(error, Error::TokenizerJson { .. }), "{error}");
    let huge = r#"{"type": "WordLevel", "vocab": {"a": 4000000000}, "unk_token": "a"}"#;
    let error = open(format!(r#"{{"version": "1.0", "model": {huge}}}"#).as_bytes()).unwrap_err();
    assert!(
        error.to_string().contains("expected 1 to 16777216 tokens, came 4000000001"),
        "{error}"
    );
    let missing =
        Tokenizer::train(&TokenizerSpec::File(folder.path().join("none.json")), &training_text());
    assert!(matches!(missing, Err(Error::Read { .. })));
}

#[test]
fn ids_that_are_none_do_no_harm() {
    for spec in ["byte", "char", "word", "bpe:300"] {
        let tokenizer = trained(spec);
        let beyond = tokenizer.vocab_size() as u32;
        let text = tokenizer.decode(&[beyond, u32::MAX]);
        assert_eq!(text.matches('\u{FFFD}').count(), 2, "{spec}");
        assert_eq!(tokenizer.token_text(beyond), format!("<no token {beyond}>"));
    }
}

#[test]
fn tokens_are_shown_in_printable_form() {
    let byte = trained("byte");
    assert_eq!(
        [10, 32, 65, 34, 0xE4].map(|id| byte.token_text(id)),
        ["\\n", " ", "A", "\"", "<0xE4>"]
    );
    let char = trained("char");
    let id = char.encode("紅").unwrap()[0];
    assert_eq!([10, id].map(|id| char.token_text(id)), ["<0x0A>", "紅"]);
    let bpe = trained("bpe:300");
    assert_eq!(bpe.token_text(bpe.end_of_line_id().unwrap()), "\\n");
    let word = trained("word");
    assert_eq!(word.token_text(word.end_of_line_id().unwrap()), "<eos>");
}

#[test]
fn a_decoder_state_of_another_tokenizer_is_refused() {
    let state = |spec: &str, ids: &[u32]| {
        let mut decoder = trained(spec).decoder();
        ids.iter().for_each(|&id| drop(decoder.push(id).to_owned()));
        decoder.state()
    };
    assert!(trained("word").decoder_from(state("byte", &[0xC3])).is_err());
    assert!(trained("byte").decoder_from(state("word", &[0])).is_err());
    let pieces = Tokenizer::from_json(WORD_PIECES).unwrap();
    let mut decoder = pieces.decoder();
    decoder.push(8);
    assert!(trained("char").decoder_from(decoder.state()).is_err());
    assert!(pieces.decoder_from(decoder.state()).is_ok());
}

#[test]
fn a_trained_tokenizer_is_remembered() {
    let cache = tempfile::tempdir().unwrap();
    for spec in ["char", "word", "bpe:300"] {
        let spec: TokenizerSpec = spec.parse().unwrap();
        let first = Tokenizer::open_or_train(cache.path(), &spec, &training_text()).unwrap();
        let measured = training_text();
        measured.measure().unwrap();
        let second = Tokenizer::open_or_train(cache.path(), &spec, &measured).unwrap();
        assert_eq!((first.to_json(), first.kind()), (second.to_json(), second.kind()));
        let is_kept =
            |entry: &fs::DirEntry| entry.file_name().to_string_lossy().ends_with(".tokenizer");
        let kept: Vec<_> = fs::read_dir(cache.path())
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(is_kept)
            .collect();
        assert!(!kept.is_empty());
        for entry in kept {
            let content = fs::read_to_string(entry.path()).unwrap();
            fs::write(
                entry.path(),
                content.replace("\"BPE\"", "\"XYZ\"").replace("<unk>", "<UNK>"),
            )
            .unwrap();
        }
        let third = Tokenizer::open_or_train(cache.path(), &spec, &measured).unwrap();
        assert_eq!(first.to_json(), third.to_json(), "a damaged file must be found");
    }
}

fn any_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-z]{1,8}",
        2 => "[ \n\t\r\u{85}\u{A0}\u{3000}]{1,3}",
        2 => any::<String>(),
        1 => prop::sample::select(&VARIED[..]).prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

thread_local! {
    static LOSSLESS: [Tokenizer; 3] = ["byte", "char", "bpe:400"].map(trained);
    static WORD: Tokenizer = trained("word");
}

proptest! {
    #[test]
    fn decoding_gives_back_every_text(text in any_text()) {
        LOSSLESS.with(|tokenizers| {
            for tokenizer in tokenizers {
                let ids = tokenizer.encode(&text).unwrap();
                prop_assert_eq!(&tokenizer.decode(&ids), &text);
                prop_assert_eq!(&decoded_in_steps(tokenizer, &ids), &text);
            }
            Ok(())
        })?;
    }

    #[test]
    fn words_come_back_with_single_spaces(text in any_text()) {
        WORD.with(|tokenizer| {
            let ids = tokenizer.encode(&text).unwrap();
            prop_assert_eq!(decoded_in_steps(tokenizer, &ids), tokenizer.decode(&ids));
            prop_assert_eq!(&tokenizer.encode(&tokenizer.decode(&ids)).unwrap(), &ids);
            let theirs = generic(tokenizer).encode(&*text, false).unwrap();
            prop_assert_eq!(theirs.get_ids(), ids);
            Ok(())
        })?;
    }

    #[test]
    fn any_ids_decode_in_steps_as_they_do_together(ids in prop::collection::vec(0u32..600, 0..60)) {
        LOSSLESS.with(|tokenizers| {
            for tokenizer in tokenizers {
                prop_assert_eq!(decoded_in_steps(tokenizer, &ids), tokenizer.decode(&ids));
            }
            Ok(())
        })?;
    }

    #[test]
    fn every_chunking_gives_the_same_ids(parts in prop::collection::vec(any_text(), 1..6)) {
        let text = parts.concat();
        prop_assume!(!text.is_empty());
        let tokenizers = LOSSLESS.with(|t| t.to_vec()).into_iter().chain([WORD.with(Clone::clone)]);
        for tokenizer in tokenizers {
            prop_assert_eq!(streamed(&tokenizer, text.clone()), tokenizer.encode(&text).unwrap());
            // The cut itself, wherever the text read so far ends.
            let (cut, mut ids, mut waiting) = (tokenizer.cut(), Vec::new(), String::new());
            for part in &parts {
                waiting.push_str(part);
                let at = if waiting.is_empty() { 0 } else { cut(&waiting, false).unwrap() };
                ids.extend(tokenizer.encode(&waiting[..at]).unwrap());
                waiting.drain(..at);
            }
            ids.extend(tokenizer.encode(&waiting).unwrap());
            prop_assert_eq!(ids, tokenizer.encode(&text).unwrap());
        }
    }
}
