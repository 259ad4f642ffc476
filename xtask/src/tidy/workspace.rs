//! Rules on the manifests: the order of the crates is the architecture.

use toml::Table;

use super::Tree;

/// One crate of the workspace as its manifests tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Folder from the root, as in the list of members.
    pub folder: String,
    /// The comment behind it in the list of members.
    pub comment: String,
    /// Name of the package.
    pub name: String,
    /// Description of the package.
    pub description: String,
    /// Names of all packages it depends on, also for tests and builds.
    pub dependencies: Vec<String>,
}

/// The members in their order.
///
/// # Errors
/// What is wrong with a manifest.
pub fn members(tree: &Tree) -> Result<Vec<Member>, String> {
    let root = tree.text("Cargo.toml").ok_or("Cargo.toml: not found")?;
    let listed = listed_members(root);
    if listed.is_empty() {
        return Err("Cargo.toml: no `members = [` with one member a line".to_owned());
    }
    listed
        .into_iter()
        .map(|(folder, comment)| {
            let path = format!("{folder}/Cargo.toml");
            let text = tree.text(&path).ok_or(format!("{path}: not found"))?;
            let manifest: Table = text.parse().map_err(|error| format!("{path}: {error}"))?;
            let of_package = |key: &str| {
                let value = manifest.get("package").and_then(|package| package.get(key)?.as_str());
                value.map(str::to_owned).ok_or(format!("{path}: no `package.{key}`"))
            };
            let (name, description) = (of_package("name")?, of_package("description")?);
            Ok(Member { folder, comment, name, description, dependencies: dependencies(&manifest) })
        })
        .collect()
}

/// A crate uses only crates above it in the list of members.
pub fn order(tree: &Tree) -> Vec<String> {
    let members = match members(tree) {
        Ok(members) => members,
        Err(complaint) => return vec![complaint],
    };
    let mut complaints = Vec::new();
    for (idx, member) in members.iter().enumerate() {
        for below in members[idx..].iter().filter(|below| member.dependencies.contains(&below.name))
        {
            complaints.push(format!(
                "{}/Cargo.toml: `{}` uses `{}`, which does not stand above it in the list of members",
                member.folder, member.name, below.name
            ));
        }
    }
    complaints
}

/// The comment of each member is the description of the crate, and the folder its name.
pub fn member_comments(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for member in members(tree).unwrap_or_default() {
        if member.comment != member.description {
            complaints.push(format!(
                "Cargo.toml: the comment of `{}` is `{}`, its description `{}`",
                member.folder, member.comment, member.description
            ));
        }
        if member.folder.rsplit('/').next() != Some(&member.name) {
            complaints.push(format!(
                "Cargo.toml: the crate in `{}` is called `{}`",
                member.folder, member.name
            ));
        }
    }
    complaints
}

/// Where programs to be compared with stand, each a workspace of its own, so that they do not weigh on the build.
const PEERS: &str = "bench/peers/";

/// Every crate in the tree is a member, or an opponent and a workspace of its own.
pub fn member_folders(tree: &Tree) -> Vec<String> {
    let members = members(tree).unwrap_or_default();
    let mut complaints = Vec::new();
    for file in &tree.files {
        let Some(folder) = file.path.strip_suffix("/Cargo.toml") else { continue };
        if folder.starts_with(PEERS) {
            if !file.text.lines().any(|line| line.trim() == "[workspace]") {
                complaints.push(format!("{}: expected to be a workspace of its own", file.path));
            }
        } else if !members.iter().any(|member| member.folder == folder) {
            complaints.push(format!("{}: not in the list of members", file.path));
        }
    }
    complaints
}

/// `("crates/x", "comment")` for each line of the list of members.
fn listed_members(root: &str) -> Vec<(String, String)> {
    root.lines()
        .skip_while(|line| !line.starts_with("members = ["))
        .skip(1)
        .take_while(|line| !line.starts_with(']'))
        .filter_map(|line| {
            let (folder, rest) = line.trim().strip_prefix('"')?.split_once('"')?;
            let comment = rest.split_once('#').map_or("", |(_, comment)| comment.trim());
            Some((folder.to_owned(), comment.to_owned()))
        })
        .collect()
}

/// Names in all tables of dependencies, those of `[target.….dependencies]` as well.
fn dependencies(manifest: &Table) -> Vec<String> {
    let mut found = Vec::new();
    for (key, value) in manifest {
        let Some(table) = value.as_table() else { continue };
        if key == "dependencies" || key == "dev-dependencies" || key == "build-dependencies" {
            for (name, spec) in table {
                let package = spec.get("package").and_then(|package| package.as_str());
                found.push(package.unwrap_or(name).to_owned());
            }
        } else if key == "target" {
            found.extend(
                table.values().filter_map(|target| target.as_table()).flat_map(dependencies),
            );
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::File;
    use super::*;

    fn tree(members: &str, manifests: &[(&str, &str)]) -> Tree {
        let mut files =
            vec![File::new("Cargo.toml", &format!("[workspace]\nmembers = [\n{members}\n]\n"))];
        for (folder, text) in manifests {
            files.push(File::new(&format!("{folder}/Cargo.toml"), text));
        }
        Tree { files }
    }

    const UPPER: &str = "[package]\nname = \"upper\"\ndescription = \"What stands above.\"\n";
    const LOWER: &str = "[package]\nname = \"lower\"\ndescription = \"What stands below.\"\n";
    const LISTED: &str =
        "\"crates/upper\", # What stands above.\n\"crates/lower\", # What stands below.";

    #[track_caller]
    fn check(rule: fn(&Tree) -> Vec<String>, tree: &Tree, expected: &[&str]) {
        let complaints = rule(tree);
        assert_eq!(complaints.len(), expected.len(), "{complaints:?}");
        for (complaint, part) in complaints.iter().zip(expected) {
            assert!(complaint.contains(part), "`{part}` is not in `{complaint}`");
        }
    }

    #[test]
    fn a_crate_may_use_those_above() {
        let lower = format!("{LOWER}[dependencies]\nupper.workspace = true\n");
        let tree = tree(LISTED, &[("crates/upper", UPPER), ("crates/lower", &lower)]);
        check(order, &tree, &[]);
        check(member_comments, &tree, &[]);
        check(member_folders, &tree, &[]);
    }

    #[test]
    fn a_crate_that_uses_one_below_is_found() {
        for table in [
            "dependencies",
            "dev-dependencies",
            "build-dependencies",
            "target.'cfg(unix)'.dependencies",
        ] {
            let upper = format!("{UPPER}[{table}]\nlower.workspace = true\n");
            let tree = tree(LISTED, &[("crates/upper", &upper), ("crates/lower", LOWER)]);
            check(order, &tree, &["`upper` uses `lower`"]);
        }
        let renamed = format!(
            "{UPPER}[dependencies]\nother = {{ package = \"lower\", path = \"../lower\" }}\n"
        );
        check(
            order,
            &tree(LISTED, &[("crates/upper", &renamed), ("crates/lower", LOWER)]),
            &["`upper` uses `lower`"],
        );
    }

    #[test]
    fn a_comment_that_differs_from_the_description_is_found() {
        let listed = LISTED.replace("What stands below.", "Something else.");
        let tree = tree(&listed, &[("crates/upper", UPPER), ("crates/lower", LOWER)]);
        check(member_comments, &tree, &["`Something else.`"]);
    }

    #[test]
    fn a_crate_outside_the_list_is_found() {
        let tree = tree(
            LISTED,
            &[("crates/upper", UPPER), ("crates/lower", LOWER), ("crates/stray", LOWER)],
        );
        check(member_folders, &tree, &["crates/stray"]);
    }

    #[test]
    fn an_opponent_that_would_weigh_on_the_build_is_found() {
        let own = format!("[workspace]\n{LOWER}");
        let manifests =
            [("crates/upper", UPPER), ("crates/lower", LOWER), ("bench/peers/own", &own)];
        check(member_folders, &tree(LISTED, &manifests), &[]);
        let manifests =
            [("crates/upper", UPPER), ("crates/lower", LOWER), ("bench/peers/stray", LOWER)];
        check(member_folders, &tree(LISTED, &manifests), &["bench/peers/stray"]);
    }

    #[test]
    fn a_missing_or_broken_manifest_is_found() {
        check(
            order,
            &tree(LISTED, &[("crates/upper", UPPER)]),
            &["crates/lower/Cargo.toml: not found"],
        );
        check(
            order,
            &tree(LISTED, &[("crates/upper", "name ="), ("crates/lower", LOWER)]),
            &["crates/upper/Cargo.toml"],
        );
        check(order, &tree("", &[]), &["no `members"]);
    }
}
