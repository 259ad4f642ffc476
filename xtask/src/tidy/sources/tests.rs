//! Each rule on sources is shown to pass good text and to find bad text.

use super::*;

/// Runs one rule on one file and compares the complaints, each by a part of its text.
#[track_caller]
fn check(rule: fn(&Tree) -> Vec<String>, path: &str, text: &str, expected: &[&str]) {
    check_tree(rule, &[(path, text)], expected);
}

#[track_caller]
fn check_tree(rule: fn(&Tree) -> Vec<String>, files: &[(&str, &str)], expected: &[&str]) {
    let tree = Tree { files: files.iter().map(|(path, text)| File::new(path, text)).collect() };
    let complaints = rule(&tree);
    assert_eq!(complaints.len(), expected.len(), "{complaints:?} in {files:?}");
    for (complaint, part) in complaints.iter().zip(expected) {
        assert!(complaint.contains(part), "`{part}` is not in `{complaint}`");
    }
}

#[test]
fn unsafe_outside_its_homes_is_found() {
    let rule = unsafe_stays_at_home;
    let text = "fn f() {\n    unsafe { g() }\n}\n";
    check(rule, "crates/recurra-kernels/src/matmul/avx2.rs", text, &[]);
    check(rule, "crates/recurra-data/src/mapped_file.rs", text, &[]);
    check(rule, "crates/recurra-data/src/text.rs", text, &["crates/recurra-data/src/text.rs:2"]);
    check(rule, "crates/recurra/examples/01.rs", "unsafe impl Send for A {}", &["01.rs:1"]);
    check(
        rule,
        "crates/recurra/src/lib.rs",
        "// unsafe\n#![deny(unsafe_op_in_unsafe_fn)]\nf(\"unsafe\");",
        &[],
    );
}

#[test]
fn unsafe_without_a_reason_is_found() {
    let rule = unsafe_is_justified;
    let path = "crates/recurra-kernels/src/a.rs";
    check(rule, path, "// SAFETY: the slice has 8 values, checked above.\nunsafe { f() }", &[]);
    check(rule, path, "unsafe {\n    // SAFETY: the slice has 8 values.\n    f()\n}", &[]);
    check(rule, path, "// SAFETY: the slice has 8 values.\nlet x =\n    unsafe { f() };", &[]);
    check(
        rule,
        path,
        "// SAFETY: the worker joins before the borrow ends.\nunsafe impl Send for A {}",
        &[],
    );
    check(rule, path, "pub unsafe fn f() {}", &[]);
    check(rule, path, "type F = unsafe fn(&[f32]);", &[]);
    check(rule, path, "fn f() {\n    unsafe { f() }\n}", &["a.rs:2"]);
    check(rule, path, "unsafe impl Send for A {}", &["a.rs:1"]);
    check(rule, path, "// SAFETY: yes\nunsafe { f() }", &["a.rs:2"]);
    check(
        rule,
        path,
        "// SAFETY: the slice has 8 values.\nlet a = 1;\nunsafe { f() }",
        &["a.rs:3"],
    );
    check(rule, path, "// SAFETY: the slice has 8 values.\n\nunsafe { f() }", &["a.rs:3"]);
}

#[test]
fn printing_libraries_are_found() {
    let rule = only_the_program_prints;
    let text = "fn f() {\n    println!(\"x\");\n}\n";
    check(rule, "crates/recurra-cli/src/main.rs", text, &[]);
    check(rule, "crates/recurra/examples/03_train.rs", text, &[]);
    check(rule, "crates/recurra-data/src/text/tests.rs", text, &[]);
    check(rule, "crates/recurra-data/src/text.rs", text, &["text.rs:2"]);
    for call in ["eprintln!()", "print!()", "eprint!()", "std::io::stdout()", "io::stderr().lock()"]
    {
        check(rule, "crates/recurra/src/lib.rs", call, &["return it as data"]);
    }
    check(rule, "crates/recurra/src/lib.rs", "//! println!(\"in a doc example\")", &[]);
    check(rule, "crates/recurra-cli/src/main.rs", "dbg!(x)", &["`dbg!`"]);
}

#[test]
fn long_files_are_found() {
    check(file_length, "a.rs", &"\n".repeat(MAX_LINES), &[]);
    check(file_length, "a.rs", &"\n".repeat(MAX_LINES + 1), &["601 lines"]);
    check(file_length, "a.md", &"\n".repeat(MAX_LINES + 1), &[]);
}

#[test]
fn files_without_documentation_are_found() {
    check(module_documentation, "a.rs", "//! What this is.\n", &[]);
    check(module_documentation, "a.rs", "use std::fs;\n//! Too late.\n", &["a.rs"]);
}

#[test]
fn names_that_say_nothing_are_found() {
    for path in
        ["crates/x/src/utils.rs", "crates/x/tests/common/mod.rs", "crates/x/src/string_util.rs"]
    {
        check(names, path, "", &["does not name what is in it"]);
    }
    for (text, name) in [
        ("pub struct RunManager;", "RunManager"),
        ("mod helpers {}", "helpers"),
        ("fn get_value() {}", "get_value"),
        ("trait TapeHelper {}", "TapeHelper"),
    ] {
        check(names, "crates/x/src/a.rs", text, &[name]);
    }
    check(
        names,
        "crates/x/src/a.rs",
        "fn budget() {}\nstruct Commonplace;\nlet x = map.get_mut(1);",
        &[],
    );
}

#[test]
fn ignored_tests_and_unfinished_code_are_found() {
    check(tests_are_run, "a.rs", "    #[ignore]\n    fn f() {}", &["a.rs:1"]);
    check(tests_are_run, "a.rs", "#[ignore = \"slow\"]\nfn f() {}", &["a.rs:1"]);
    check(tests_are_run, "a.rs", "fn f() { todo!() }", &["`todo!`"]);
    check(tests_are_run, "a.rs", "fn f() { unimplemented!() }", &["`unimplemented!`"]);
    check(tests_are_run, "a.rs", "// todo! later\n#[test]\nfn f() {}", &[]);
}

#[test]
fn kernels_without_reference_or_tests_are_found() {
    let base = "crates/recurra-kernels/src/";
    let test = "#[test]\nfn f() {}";
    let check = |files: &[(&str, &str)], expected: &[&str]| {
        let paths: Vec<String> = files.iter().map(|(name, _)| format!("{base}{name}")).collect();
        let files: Vec<(&str, &str)> =
            paths.iter().map(String::as_str).zip(files.iter().map(|(_, text)| *text)).collect();
        check_tree(kernel_folders, &files, expected);
    };
    check(
        &[("lib.rs", ""), ("lstm/mod.rs", ""), ("lstm/reference.rs", ""), ("lstm/tests.rs", test)],
        &[],
    );
    check(&[("gru/mod.rs", test), ("gru/reference.rs", "")], &[]);
    check(&[("gru/mod.rs", test), ("gru/avx2.rs", "")], &["gru: no `reference.rs`"]);
    check(
        &[("gru/mod.rs", ""), ("gru/reference.rs", ""), ("lstm/tests.rs", "")],
        &["gru: no tests", "lstm: no `mod.rs`", "lstm: no `ref", "lstm: no tests"],
    );
}
