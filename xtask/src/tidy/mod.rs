//! Invariants of the tree that no compiler checks. Each rule takes text and returns its complaints, one line each.

pub mod code;
pub mod documents;
pub mod sources;
pub mod workspace;

use std::path::{Path, PathBuf};
use std::process::Command;

/// One text file of the repository.
#[derive(Clone, Debug)]
pub struct File {
    /// Path from the root of the repository, with `/` between its parts.
    pub path: String,
    /// The whole text.
    pub text: String,
}

impl File {
    /// A file made of its path and its text.
    pub fn new(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    /// Whether this is a Rust source file.
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether only tests are in it, by its place in the tree.
    pub fn is_test(&self) -> bool {
        self.path.split('/').any(|part| part == "tests" || part == "tests.rs")
    }
}

/// Every text file of the repository that is tracked, or would be by `git add .`.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// The files, sorted by path.
    pub files: Vec<File>,
}

impl Tree {
    /// Reads the repository this program was built from.
    ///
    /// # Panics
    /// When the folder cannot be read: nothing can be checked then.
    pub fn of_this_repository() -> Tree {
        let root =
            Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask has a parent folder");
        Tree::read(root)
    }

    /// Reads the text files below `root`: those git knows of, or all of them where there is no git.
    pub fn read(root: &Path) -> Tree {
        let mut paths = listed_by_git(root).unwrap_or_else(|| walked(root));
        paths.sort();
        paths.dedup();
        let files = paths
            .into_iter()
            .filter_map(|path| {
                // A file git knows of may have been deleted, and one that is not UTF-8 is no text.
                let text = std::fs::read_to_string(root.join(&path)).ok()?;
                Some(File { path, text })
            })
            .collect();
        Tree { files }
    }

    /// The text of a file, if it is there.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.files.iter().find(|file| file.path == path).map(|file| file.text.as_str())
    }
}

/// Every complaint of every rule.
pub fn all_complaints(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    complaints.extend(workspace::order(tree));
    complaints.extend(workspace::member_comments(tree));
    complaints.extend(workspace::member_folders(tree));
    complaints.extend(sources::unsafe_stays_at_home(tree));
    complaints.extend(sources::unsafe_is_justified(tree));
    complaints.extend(sources::only_the_program_prints(tree));
    complaints.extend(sources::file_length(tree));
    complaints.extend(sources::module_documentation(tree));
    complaints.extend(sources::names(tree));
    complaints.extend(sources::tests_are_run(tree));
    complaints.extend(sources::kernel_folders(tree));
    complaints.extend(documents::crate_maps(tree));
    complaints.extend(documents::test_command(tree));
    complaints.extend(documents::no_machine_paths(tree));
    complaints.extend(documents::no_private_hosts(tree));
    complaints
}

fn listed_by_git(root: &Path) -> Option<Vec<String>> {
    let output = Command::new("git")
        .arg("-C")
        .arg(root)
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .output()
        .ok()?;
    if !output.status.success() || output.stdout.is_empty() {
        return None;
    }
    let listing = String::from_utf8(output.stdout).ok()?;
    Some(listing.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect())
}

fn walked(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in
            std::fs::read_dir(&folder).expect("a folder of the repository is readable").flatten()
        {
            let name = entry.file_name();
            let kind = entry.file_type().expect("an entry of the repository has a type");
            if kind.is_dir() && name != "target" && name != ".git" && name != "runs" {
                open.push(entry.path());
            } else if kind.is_file() {
                let path = entry.path();
                let below = path.strip_prefix(root).expect("the walk started at the root");
                found.push(below.to_string_lossy().replace('\\', "/"));
            }
        }
    }
    found
}
