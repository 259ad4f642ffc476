//! The invariants of this repository, each a test; the rules and the proof that each can fail are in `src/tidy`.

use std::sync::LazyLock;

use xtask::tidy::{Tree, documents, sources, workspace};

static TREE: LazyLock<Tree> = LazyLock::new(Tree::of_this_repository);

#[track_caller]
fn check(rule: fn(&Tree) -> Vec<String>) {
    assert!(TREE.files.len() > 20, "only {} files were found", TREE.files.len());
    let complaints = rule(&TREE);
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn a_crate_uses_only_crates_above_it() {
    check(workspace::order);
}

#[test]
fn comments_of_members_are_their_descriptions() {
    check(workspace::member_comments);
}

#[test]
fn every_crate_is_a_member() {
    check(workspace::member_folders);
}

#[test]
fn unsafe_stays_in_the_kernels_and_the_mapped_file() {
    check(sources::unsafe_stays_at_home);
}

#[test]
fn every_unsafe_names_the_fact_it_rests_on() {
    check(sources::unsafe_is_justified);
}

#[test]
fn only_the_program_prints() {
    check(sources::only_the_program_prints);
}

#[test]
fn no_file_is_too_long() {
    check(sources::file_length);
}

#[test]
fn every_file_says_first_what_is_in_it() {
    check(sources::module_documentation);
}

#[test]
fn names_say_what_things_are() {
    check(sources::names);
}

#[test]
fn no_test_is_ignored() {
    check(sources::tests_are_run);
}

#[test]
fn every_kernel_has_a_reference_and_tests() {
    check(sources::kernel_folders);
}

#[test]
fn maps_agree_with_the_manifests() {
    check(documents::crate_maps);
}

#[test]
fn readme_names_the_test_command_of_ci() {
    check(documents::test_command);
}

#[test]
fn no_file_holds_a_path_of_one_machine() {
    check(documents::no_machine_paths);
}

#[test]
fn no_file_names_a_private_host() {
    check(documents::no_private_hosts);
}
