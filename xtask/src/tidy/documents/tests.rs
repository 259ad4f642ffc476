//! Each rule on documents is shown to pass good text and to find bad text.

use super::*;

#[track_caller]
fn check(rule: fn(&Tree) -> Vec<String>, files: &[(&str, &str)], expected: &[&str]) {
    let tree = Tree { files: files.iter().map(|(path, text)| File::new(path, text)).collect() };
    let complaints = rule(&tree);
    assert_eq!(complaints.len(), expected.len(), "{complaints:?} in {files:?}");
    for (complaint, part) in complaints.iter().zip(expected) {
        assert!(complaint.contains(part), "`{part}` is not in `{complaint}`");
    }
}

const ROOT: (&str, &str) = (
    "Cargo.toml",
    "members = [\n\"crates/recurra-a\", # First.\n\"crates/recurra-b\", # Second.\n]\n",
);
const A: (&str, &str) =
    ("crates/recurra-a/Cargo.toml", "[package]\nname = \"recurra-a\"\ndescription = \"First.\"\n");
const B: (&str, &str) =
    ("crates/recurra-b/Cargo.toml", "[package]\nname = \"recurra-b\"\ndescription = \"Second.\"\n");
const MAP: &str = "| crate | what |\n|---|---|\n| `recurra-a` | First. |\n| `recurra-b` | Second. |\n| `bench` | x |\n";

#[test]
fn maps_that_disagree_are_found() {
    let with = |readme, chinese, architecture| {
        [
            ROOT,
            A,
            B,
            ("README.md", readme),
            ("README.zh-CN.md", chinese),
            ("ARCHITECTURE.md", architecture),
        ]
    };
    let translated = MAP.replace("First.", "第一");
    check(crate_maps, &with(MAP, &translated, MAP), &[]);
    check(crate_maps, &with(&translated, MAP, MAP), &["README.md: `recurra-a` is `第一`"]);
    let swapped = "| `recurra-b` | Second. |\n| `recurra-a` | First. |\n";
    check(crate_maps, &with(MAP, swapped, MAP), &["README.zh-CN.md: its map lists"]);
    let short = "| `recurra-a` | First. |\n";
    check(crate_maps, &with(MAP, MAP, short), &["ARCHITECTURE.md: its map lists"]);
    check(
        crate_maps,
        &[ROOT, A, B, ("README.md", MAP), ("README.zh-CN.md", MAP)],
        &["ARCHITECTURE.md: not found"],
    );
}

#[test]
fn a_test_command_that_differs_is_found() {
    let run = (".ci/run", "test_command='cargo test --workspace'\n$test_command 2>&1 | tee log\n");
    let good = "Tests:\n```\ncargo test --workspace   # all of them\n```\n";
    let with = |run, readme, contributing| {
        [run, ("README.md", readme), ("README.zh-CN.md", good), ("CONTRIBUTING.md", contributing)]
    };
    check(test_command, &with(run, good, good), &[]);
    let partial = "cargo test --workspace\ncargo test -p recurra-data\n";
    check(test_command, &with(run, good, partial), &[]);
    check(test_command, &with(run, partial, good), &["tests of one crate"]);
    check(test_command, &with(run, "cargo test\n", good), &["README.md: names"]);
    check(test_command, &with(run, "no command", good), &["README.md: names []"]);
    check(test_command, &with((".ci/run", "cargo test"), good, good), &["no line `test_command="]);
    check(
        test_command,
        &with((".ci/run", "test_command='cargo test --workspace'\n"), good, good),
        &["never runs"],
    );
}

#[test]
fn paths_of_one_machine_are_found() {
    for root in ["home", "root", "work", "tmp", "Users"] {
        let path = format!("/{root}/ann/data");
        check(no_machine_paths, &[("a.md", &path)], &["a.md:1"]);
        check(no_machine_paths, &[("a.rs", &format!("let x = \"{path}\";"))], &["a.rs:1"]);
        check(no_machine_paths, &[("a.md", &format!("crates{path}"))], &[]);
    }
    check(
        no_machine_paths,
        &[("a.md", "work/data and ~/tmp/x and https://example.org/home/page")],
        &[],
    );
}

#[test]
fn private_hosts_are_found() {
    let rule = no_private_hosts;
    let url = |host: &str| format!("see https://{host}/index for more");
    for host in ["github.com", "arxiv.org", "localhost:8080", "127.0.0.1:80", "{host}"] {
        check(rule, &[("a.md", &url(host))], &[]);
    }
    for host in
        ["10.1.2.3", "mirror", "proxy.internal", "example.org:8443", "user:secret@example.org"]
    {
        check(rule, &[("a.md", &url(host))], &["a.md:1"]);
    }
    let public = format!("source = \"registry+https://{PUBLIC_INDEX}\"");
    check(rule, &[("Cargo.lock", &public)], &[]);
    check(rule, &[("Cargo.lock", &public.replace("rust-lang", "someone"))], &["another registry"]);
    let replaced = format!("[source.crates-io]\n{}-with = \"mirror\"\n", "replace");
    check(rule, &[(".cargo/config.toml", &replaced)], &["config.toml:2"]);
}
