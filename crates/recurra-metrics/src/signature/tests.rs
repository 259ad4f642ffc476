//! Signatures: the line and back, and what may be compared with what.

use proptest::prelude::*;

use super::*;

const LINE: &str = "lm|unit:char|tok:char-1a2b3c4d5e6f7081|ctx:unbounded|state:carried|data:9f86d081884c7d65|prec:f32|v:0.1.0";

fn signature() -> Signature {
    LINE.parse().unwrap()
}

#[track_caller]
fn check_refused(line: &str, expected: &str) {
    let error = line.parse::<Signature>().expect_err("the line should be refused");
    assert_eq!(error.to_string(), expected);
    assert!(error.hint().is_some());
}

/// What is compared, with `change` made on one side, must name exactly `expected`, from either side.
#[track_caller]
fn check_differences(quantity: Quantity, change: impl Fn(&mut Signature), expected: &[Field]) {
    let (ours, mut theirs) = (signature(), signature());
    change(&mut theirs);
    for (a, b) in [(&ours, &theirs), (&theirs, &ours)] {
        let named: Vec<_> = match a.comparable_in(quantity, b) {
            Ok(()) => vec![],
            Err(incomparable) => {
                incomparable.differences.iter().map(|difference| difference.field).collect()
            }
        };
        assert_eq!(named, expected);
    }
}

#[test]
fn the_line_is_the_documented_one() {
    let expected = Signature {
        unit: "char".into(),
        tokenizer: "char-1a2b3c4d5e6f7081".into(),
        context: Context::Unbounded,
        state: StateCarry::Carried,
        temperature: None,
        cache: None,
        dynamic: None,
        data: "9f86d081884c7d65".into(),
        precision: "f32".into(),
        version: "0.1.0".into(),
    };
    assert_eq!(signature(), expected);
    assert_eq!(expected.to_string(), LINE);
}

proptest! {
    #[test]
    fn any_values_come_back(
        unit in ".*", tokenizer in ".*", data in "[|%: \t\na-z]*", precision in ".*", version in ".*",
        context in proptest::option::of(any::<u64>()), carried in any::<bool>(),
        [temperature, cache, dynamic] in proptest::array::uniform3(proptest::option::of(".*")),
    ) {
        let signature = Signature {
            unit, tokenizer, temperature, cache, dynamic, data, precision, version,
            context: context.map_or(Context::Unbounded, Context::Tokens),
            state: if carried { StateCarry::Carried } else { StateCarry::Reset },
        };
        let line = signature.to_string();
        prop_assert!(!line.contains(char::is_whitespace));
        prop_assert_eq!(line.parse::<Signature>().unwrap(), signature);
    }

    #[test]
    fn any_text_is_read_or_refused(text in ".*", tail in ".*") {
        let _ = text.parse::<Signature>();
        let _ = format!("{LINE}{text}").parse::<Signature>();
        let _ = format!("lm|unit:%{text}|{tail}").parse::<Signature>();
    }
}

#[test]
fn bad_lines_say_what_is_wrong() {
    check_refused(
        "",
        "`` is not a score signature: expected fields joined by `|`, the first of them `lm`",
    );
    check_refused(
        "bleu|unit:char",
        "`bleu|unit:char` is not a score signature: expected fields joined by `|`, the first of them `lm`",
    );
    check_refused("lm|unit:char", "the score signature has no field `tok`");
    check_refused("lm|unit:char|unit:word", "the score signature has the field `unit` twice");
    check_refused(
        "lm|smooth:exp",
        "`smooth:exp` in a score signature is not a field: expected one of unit, tok, ctx, state, temp, cache, dyn, data, prec, v",
    );
    check_refused(
        &LINE.replace("unbounded", "-3"),
        "`-3` is not a value of the field `ctx` of a score signature: expected `unbounded` or a number of tokens",
    );
    check_refused(
        &LINE.replace("carried", "kept"),
        "`kept` is not a value of the field `state` of a score signature: expected `carried` or `reset`",
    );
    check_refused(
        "lm|unit:%7",
        "`%7` is not a value of the field `unit` of a score signature: \
         expected `%` before two hexadecimal digits, and UTF-8",
    );
}

#[test]
fn equal_signatures_compare_in_everything() {
    for quantity in [Quantity::TokenPerplexity, Quantity::WordPerplexity, Quantity::BitsPerByte] {
        check_differences(quantity, |_| (), &[]);
    }
}

#[test]
fn another_text_context_or_state_compares_in_nothing() {
    for quantity in [Quantity::TokenPerplexity, Quantity::WordPerplexity, Quantity::BitsPerByte] {
        check_differences(quantity, |it| it.data = "0".into(), &[Field::Data]);
        check_differences(quantity, |it| it.context = Context::Tokens(35), &[Field::Context]);
        check_differences(quantity, |it| it.state = StateCarry::Reset, &[Field::State]);
        let all = |it: &mut Signature| {
            (it.data, it.context, it.state) = ("0".into(), Context::Tokens(35), StateCarry::Reset);
        };
        check_differences(quantity, all, &[Field::Context, Field::State, Field::Data]);
    }
}

#[test]
fn what_helps_a_score_stands_in_the_line_and_compares_with_itself_only() {
    let line = LINE.replace(
        "|data:",
        "|temp:0.93|cache:500,1,0.1|dyn:rms,20,0.0002,0.008,0.00002,5e6f70811a2b3c4d|data:",
    );
    let helped: Signature = line.parse().unwrap();
    assert_eq!(helped.to_string(), line);
    assert_eq!(helped.temperature.as_deref(), Some("0.93"));
    for quantity in [Quantity::TokenPerplexity, Quantity::WordPerplexity, Quantity::BitsPerByte] {
        assert_eq!(helped.comparable_in(quantity, &helped), Ok(()));
        let all = |it: &mut Signature| *it = helped.clone();
        check_differences(quantity, all, &[Field::Temperature, Field::Cache, Field::Dynamic]);
        check_differences(
            quantity,
            |it| it.temperature = Some("0.9".into()),
            &[Field::Temperature],
        );
    }
    let mut other = helped.clone();
    other.cache = Some("500,1,0.2".into());
    let error = helped.comparable(&other).unwrap_err();
    assert_eq!(
        error.to_string(),
        "these scores cannot be compared in perplexity by token: `cache` is `500,1,0.1` here and \
         `500,1,0.2` there (a cache helps with words that come again)"
    );
    assert!(error.hint().contains("`--cache`"));
    let without = signature().comparable(&helped).unwrap_err();
    assert!(without.to_string().contains("`temp` is `none` here and `0.93` there"), "{without}");
}

#[test]
fn other_tokens_compare_by_bits_per_byte_only() {
    let bpe = |it: &mut Signature| (it.unit, it.tokenizer) = ("bpe".into(), "bpe-77".into());
    check_differences(Quantity::TokenPerplexity, bpe, &[Field::Unit, Field::Tokenizer]);
    check_differences(Quantity::WordPerplexity, bpe, &[]);
    check_differences(Quantity::BitsPerByte, bpe, &[]);
    check_differences(
        Quantity::TokenPerplexity,
        |it| it.tokenizer = "char-77".into(),
        &[Field::Tokenizer],
    );
}

#[test]
fn a_closed_vocabulary_compares_with_itself_only() {
    let word = |it: &mut Signature| (it.unit, it.tokenizer) = ("word".into(), "word-77".into());
    check_differences(Quantity::BitsPerByte, word, &[Field::Unit, Field::Tokenizer]);
    check_differences(Quantity::WordPerplexity, word, &[Field::Unit, Field::Tokenizer]);
    let (mut ours, mut theirs) = (signature(), signature());
    word(&mut ours);
    word(&mut theirs);
    assert_eq!(ours.comparable_in(Quantity::BitsPerByte, &theirs), Ok(()));
}

#[test]
fn precision_and_version_only_warn() {
    let change = |it: &mut Signature| (it.precision, it.version) = ("bf16".into(), "0.2.0".into());
    check_differences(Quantity::TokenPerplexity, change, &[]);
    let mut theirs = signature();
    change(&mut theirs);
    let fields: Vec<_> =
        signature().caveats(&theirs).iter().map(|difference| difference.field).collect();
    assert_eq!(fields, [Field::Precision, Field::Version]);
    assert!(signature().caveats(&signature()).is_empty());
}

#[test]
fn the_refusal_gives_both_values_the_reason_and_a_way_out() {
    let mut theirs = signature();
    (theirs.unit, theirs.tokenizer) = ("bpe".into(), "bpe-77".into());
    let error = Error::from(signature().comparable(&theirs).unwrap_err());
    assert_eq!(
        error.to_string(),
        "these scores cannot be compared in perplexity by token: \
         `unit` is `char` here and `bpe` there (a token is not the same piece of text); \
         `tok` is `char-1a2b3c4d5e6f7081` here and `bpe-77` there (the text is cut into other tokens)"
    );
    assert_eq!(
        error.hint().unwrap(),
        "compare bits per byte, which does not depend on the tokenizer"
    );
    theirs.data = "0".into();
    let error = Error::from(signature().comparable(&theirs).unwrap_err());
    assert_eq!(error.hint().unwrap(), "evaluate both models on the same text");
}
