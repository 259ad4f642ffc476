//! Rules on what people read: maps that agree with the manifests, one test command, nothing of one machine.

use super::workspace::members;
use super::{File, Tree};

/// Documents with a table of all crates, and whether its second column is the description in English.
const MAPS: [(&str, bool); 3] =
    [("README.md", true), ("README.zh-CN.md", false), ("ARCHITECTURE.md", true)];

/// Documents that name the test command.
const NAMING_THE_TESTS: [&str; 3] = ["README.md", "README.zh-CN.md", "CONTRIBUTING.md"];

/// The tables of crates in README and ARCHITECTURE are the list of members: same crates, order, descriptions.
pub fn crate_maps(tree: &Tree) -> Vec<String> {
    let members = members(tree).unwrap_or_default();
    let mut complaints = Vec::new();
    for (path, in_english) in MAPS {
        let Some(text) = tree.text(path) else {
            complaints.push(format!("{path}: not found"));
            continue;
        };
        let rows: Vec<(&str, &str)> = text.lines().filter_map(crate_row).collect();
        let names: Vec<&str> = rows.iter().map(|(name, _)| *name).collect();
        let expected: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
        if names != expected {
            complaints.push(format!("{path}: its map lists {names:?}, the manifests {expected:?}"));
        } else if in_english {
            for ((name, said), member) in
                rows.iter().zip(&members).filter(|((_, said), m)| *said != m.description)
            {
                complaints.push(format!(
                    "{path}: `{name}` is `{said}`, its manifest says `{}`",
                    member.description
                ));
            }
        }
    }
    complaints
}

/// `| `recurra-data` | what it is |` as name and description.
fn crate_row(line: &str) -> Option<(&str, &str)> {
    let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
    let name = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
    let is_crate = name == "xtask" || name == "recurra" || name.starts_with("recurra-");
    is_crate.then_some((name, cells.next()?))
}

/// The command that README names is the one that `.ci/run` runs.
pub fn test_command(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    let run = tree.text(".ci/run").unwrap_or_default();
    let Some(command) =
        run.lines().find_map(|line| line.strip_prefix("test_command='")?.strip_suffix('\''))
    else {
        return vec![".ci/run: no line `test_command='…'`".to_owned()];
    };
    if !run.lines().any(|line| line.trim().starts_with("$test_command")) {
        complaints.push(".ci/run: never runs `$test_command`".to_owned());
    }
    for path in NAMING_THE_TESTS {
        let Some(text) = tree.text(path) else {
            complaints.push(format!("{path}: not found"));
            continue;
        };
        let named: Vec<&str> = text
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default().trim())
            .filter(|line| line.starts_with("cargo test"))
            .collect();
        let (whole, partial): (Vec<&str>, Vec<&str>) =
            named.iter().partition(|line| !line.contains(" -p "));
        if whole != [command] {
            complaints
                .push(format!("{path}: names {whole:?} as test command, .ci/run runs `{command}`"));
        }
        if path != "CONTRIBUTING.md" && !partial.is_empty() {
            complaints.push(format!(
                "{path}: names {partial:?}; tests of one crate belong into CONTRIBUTING.md"
            ));
        }
    }
    complaints
}

/// No absolute path of one machine in any file.
pub fn no_machine_paths(tree: &Tree) -> Vec<String> {
    // Written in pieces, or this file would complain of itself.
    let roots =
        ["home", "root", "work", "tmp", "Users", "mnt", "private"].map(|name| format!("/{name}/"));
    let mut complaints = Vec::new();
    for (file, line_idx, line) in lines(tree) {
        for root in &roots {
            for (at, _) in line.match_indices(root.as_str()) {
                let before = line[..at].chars().next_back();
                let after = line[at + root.len()..].chars().next();
                let is_inside_a_path =
                    before.is_some_and(|c| c.is_alphanumeric() || "_-.}*~)".contains(c));
                if !is_inside_a_path
                    && after.is_some_and(|c| c.is_alphanumeric() || "._-".contains(c))
                {
                    complaints.push(format!(
                        "{}:{}: a path of one machine (`{root}…`)",
                        file.path,
                        line_idx + 1
                    ));
                }
            }
        }
    }
    complaints
}

/// No address of a private host, and no registry but the public one.
pub fn no_private_hosts(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for (file, line_idx, line) in lines(tree) {
        for (at, _) in line.match_indices("://") {
            let authority = line[at + 3..]
                .split(|c: char| "/\"'`<>()[]{}? ,|".contains(c))
                .next()
                .unwrap_or_default();
            if is_private(authority) {
                complaints.push(format!(
                    "{}:{}: `{authority}` is no public host",
                    file.path,
                    line_idx + 1
                ));
            }
        }
        let source = line.trim().strip_prefix("source = \"registry+");
        if source.is_some_and(|source| !source.contains(PUBLIC_INDEX)) {
            complaints.push(format!(
                "{}:{}: a package from another registry",
                file.path,
                line_idx + 1
            ));
        }
        if file.path.ends_with(".toml") && line.trim().starts_with(concat!("replace", "-with")) {
            complaints.push(format!("{}:{}: a registry is replaced", file.path, line_idx + 1));
        }
    }
    complaints
}

/// The public index of packages, as a lock file names it; in parts, so that this file names no registry itself.
pub(super) const PUBLIC_INDEX: &str = concat!("github.com/rust-lang/crates", ".io-index");

fn is_private(authority: &str) -> bool {
    let host_and_port = authority.rsplit('@').next().unwrap_or_default();
    let (host, port) = host_and_port.split_once(':').unwrap_or((host_and_port, ""));
    let here = host == "localhost" || host.starts_with("127.");
    if host.is_empty() || here {
        return false; // `{host}` in a format string, or the reader's own machine
    }
    let is_number = host.chars().all(|c| c.is_ascii_digit() || c == '.');
    let last = host.rsplit('.').next().unwrap_or_default();
    let is_inner = !host.contains('.')
        || ["internal", "local", "lan", "corp", "cluster", "svc"].contains(&last);
    is_number || is_inner || !port.is_empty() || authority.contains('@')
}

fn lines(tree: &Tree) -> impl Iterator<Item = (&File, usize, &str)> {
    tree.files
        .iter()
        .flat_map(|file| file.text.lines().enumerate().map(move |(idx, line)| (file, idx, line)))
}

#[cfg(test)]
mod tests;
