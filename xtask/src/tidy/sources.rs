//! Rules on Rust sources.

use std::collections::BTreeSet;

use super::code::{blanked, words};
use super::{File, Tree};

/// Longest Rust file, in lines.
pub const MAX_LINES: usize = 600;

/// Places where `unsafe` may stand.
const UNSAFE_HOMES: [&str; 2] =
    ["crates/recurra-kernels/src/", "crates/recurra-data/src/mapped_file.rs"];

/// Crates whose job it is to print.
const PROGRAMS: [&str; 2] = ["crates/recurra-cli/", "xtask/"];

/// Folders of the kernels that are no operation: what loops are written in.
const NO_OPERATIONS: [&str; 1] = ["simd"];

/// Words that say nothing about what is in a file or a type.
const EMPTY_NAMES: [&str; 8] =
    ["util", "utils", "common", "helper", "helpers", "manager", "misc", "stuff"];

fn rust(tree: &Tree) -> impl Iterator<Item = (&File, String)> {
    tree.files.iter().filter(|file| file.is_rust()).map(|file| (file, blanked(&file.text)))
}

/// `unsafe` stands only in the kernels and in the file that maps files into memory.
pub fn unsafe_stays_at_home(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for (file, code) in rust(tree) {
        if UNSAFE_HOMES.iter().any(|home| file.path.starts_with(home)) {
            continue;
        }
        for (line, _, _) in words(&code).filter(|(_, word, _)| *word == "unsafe") {
            complaints.push(format!(
                "{}:{line}: `unsafe` outside {}",
                file.path,
                UNSAFE_HOMES.join(" and ")
            ));
        }
    }
    complaints
}

/// Every `unsafe` block and impl has a `// SAFETY:` that names the fact it rests on.
///
/// What an `unsafe fn` asks of its caller stands in its `# Safety` section, which clippy looks for.
pub fn unsafe_is_justified(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for (file, code) in rust(tree) {
        let text_lines: Vec<&str> = file.text.lines().collect();
        let code_lines: Vec<&str> = code.lines().collect();
        for (line, _, rest) in words(&code).filter(|(_, word, _)| *word == "unsafe") {
            let rest = rest.trim_start();
            let rests_on_a_fact = rest.starts_with('{') || rest.starts_with("impl");
            if rests_on_a_fact && !is_justified(&text_lines, &code_lines, line - 1) {
                complaints.push(format!(
                    "{}:{line}: `unsafe` without a `// SAFETY:` that names a fact",
                    file.path
                ));
            }
        }
    }
    complaints
}

/// Looks for the reason on the line itself, on the one after it (first thing in the block), and above it as far
/// as comments, attributes and the start of the same statement reach.
fn is_justified(text: &[&str], code: &[&str], line: usize) -> bool {
    if gives_reason(text[line]) || text.get(line + 1).is_some_and(|next| gives_reason(next)) {
        return true;
    }
    for above in (0..line).rev() {
        if gives_reason(text[above]) {
            return true;
        }
        let code = code[above].trim();
        let ends_statement =
            code.ends_with([';', '{', '}']) || (code.is_empty() && text[above].trim().is_empty());
        if ends_statement {
            return false;
        }
    }
    false
}

fn gives_reason(line: &str) -> bool {
    let Some(at) = line.find("//") else { return false };
    let reason = line[at..].split_once("SAFETY:").map(|(_, reason)| reason);
    reason.is_some_and(|reason| reason.split_whitespace().count() >= 2)
}

/// Libraries return values; only the programs print.
pub fn only_the_program_prints(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for (file, code) in rust(tree) {
        let is_library =
            file.path.starts_with("crates/") && file.path.contains("/src/") && !file.is_test();
        let is_program = PROGRAMS.iter().any(|program| file.path.starts_with(program));
        for (line, word, rest) in words(&code) {
            let prints = matches!(word, "println" | "eprintln" | "print" | "eprint")
                && rest.starts_with('!');
            let takes_stream = matches!(word, "stdout" | "stderr") && rest.starts_with("()");
            if word == "dbg" && rest.starts_with('!') {
                complaints.push(format!("{}:{line}: `dbg!` was left behind", file.path));
            } else if is_library && !is_program && (prints || takes_stream) {
                complaints.push(format!(
                    "{}:{line}: `{word}` in a library: return it as data",
                    file.path
                ));
            }
        }
    }
    complaints
}

/// A file that is too long has a second noun in it.
pub fn file_length(tree: &Tree) -> Vec<String> {
    let rust = tree.files.iter().filter(|file| file.is_rust());
    rust.map(|file| (file, file.text.lines().count()))
        .filter(|(_, n_lines)| *n_lines > MAX_LINES)
        .map(|(file, n_lines)| {
            format!("{}: {n_lines} lines, at most {MAX_LINES} are allowed", file.path)
        })
        .collect()
}

/// Every Rust file says first what is in it.
pub fn module_documentation(tree: &Tree) -> Vec<String> {
    let rust = tree.files.iter().filter(|file| file.is_rust());
    rust.filter(|file| !file.text.starts_with("//!"))
        .map(|file| format!("{}: does not begin with its documentation (`//! …`)", file.path))
        .collect()
}

/// Names say what a thing is: no `utils`, `common`, `helper`, `Manager`, `get_`.
pub fn names(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for (file, code) in rust(tree) {
        if let Some(part) =
            file.path.trim_end_matches(".rs").split('/').find(|part| has_empty_name(part))
        {
            complaints.push(format!("{}: `{part}` does not name what is in it", file.path));
        }
        let mut before = "";
        for (line, word, _) in words(&code) {
            let is_defined = matches!(before, "fn" | "struct" | "enum" | "trait" | "type" | "mod");
            if is_defined
                && (has_empty_name(&snake_case(word))
                    || (before == "fn" && word.starts_with("get_")))
            {
                complaints.push(format!("{}:{line}: `{word}` does not name what it is", file.path));
            }
            before = word;
        }
    }
    complaints
}

fn has_empty_name(snake: &str) -> bool {
    snake.split(['_', '-']).any(|part| EMPTY_NAMES.contains(&part))
}

fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

/// A test that is never run tests nothing, and unfinished code is not committed.
pub fn tests_are_run(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for (file, code) in rust(tree) {
        let squeezed: Vec<&str> = code.lines().map(str::trim).collect();
        for (idx, line) in squeezed.iter().enumerate() {
            if line.starts_with("#[ignore") {
                complaints.push(format!(
                    "{}:{}: `#[ignore]`: a slow test asks for SLOW_TESTS=1",
                    file.path,
                    idx + 1
                ));
            }
        }
        for (line, word, _) in words(&code).filter(|(_, word, rest)| {
            matches!(*word, "todo" | "unimplemented") && rest.starts_with('!')
        }) {
            complaints.push(format!("{}:{line}: `{word}!` was left behind", file.path));
        }
    }
    complaints
}

/// Every folder of an operation in the kernels has its plain reference and its tests.
pub fn kernel_folders(tree: &Tree) -> Vec<String> {
    let source = "crates/recurra-kernels/src/";
    let inside: Vec<&str> =
        tree.files.iter().filter_map(|file| file.path.strip_prefix(source)).collect();
    let folders: BTreeSet<&str> =
        inside.iter().filter_map(|path| Some(path.split_once('/')?.0)).collect();
    let mut complaints = Vec::new();
    for folder in folders.into_iter().filter(|folder| !NO_OPERATIONS.contains(folder)) {
        for wanted in ["mod.rs", "reference.rs"] {
            if !inside.contains(&format!("{folder}/{wanted}").as_str()) {
                complaints.push(format!("{source}{folder}: no `{wanted}`"));
            }
        }
        let of_folder = format!("{source}{folder}/");
        let is_tested =
            |file: &File| file.path.starts_with(&of_folder) && file.text.contains("#[test]");
        if !tree.files.iter().any(is_tested) {
            complaints.push(format!("{source}{folder}: no tests"));
        }
    }
    complaints
}

#[cfg(test)]
mod tests;
