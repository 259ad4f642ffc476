//! Every example runs to its end; each checks for itself that what it shows is so.

use std::error::Error;

macro_rules! examples {
    ($($name:ident = $path:literal),+ $(,)?) => {
        $(
            #[path = $path]
            mod $name;
        )+

        const PATHS: &[&str] = &[$($path),+];

        mod runs_to_its_end {
            $(
                #[test]
                fn $name() {
                    super::$name::main().unwrap();
                }
            )+
        }
    };
}

examples! {
    smallest = "../examples/01_smallest.rs",
    text_to_tokens = "../examples/02_text_to_tokens.rs",
    train = "../examples/03_train.rs",
    evaluate = "../examples/04_evaluate.rs",
    generate = "../examples/05_generate.rs",
    state = "../examples/06_state.rs",
}

#[test]
fn every_example_is_run_here_and_is_short() -> Result<(), Box<dyn Error>> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut n_examples = 0;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let n_lines = std::fs::read_to_string(&path)?.lines().count();
        assert!(n_lines < 80, "{name} has {n_lines} lines");
        assert!(PATHS.iter().any(|path| path.ends_with(&name)), "{name} is not run");
        n_examples += 1;
    }
    assert_eq!(n_examples, PATHS.len());
    Ok(())
}
