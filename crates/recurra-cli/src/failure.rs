//! How a command fails: an exit status, what happened, why, and what to do about it.

use std::fmt::Write as _;
use std::process::ExitCode;

use recurra::{checkpoint, data, inference, metrics, models, train};

/// Exit status of a failure of the user's data or files.
pub const DATA: u8 = 1;

/// Exit status of wrong arguments, and of faults that nobody expected.
pub const ARGUMENTS: u8 = 2;

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub struct Failure {
    status: u8,
    error: anyhow::Error,
    hint: Option<String>,
}

impl Failure {
    /// The arguments make no sense.
    pub fn of_arguments(message: impl Into<String>, hint: impl Into<String>) -> Failure {
        Failure {
            status: ARGUMENTS,
            error: anyhow::Error::msg(message.into()),
            hint: Some(hint.into()),
        }
    }

    /// Something is wrong with what the user gave to read, or with where to write.
    pub fn of_data(message: impl Into<String>, hint: impl Into<String>) -> Failure {
        Failure { status: DATA, error: anyhow::Error::msg(message.into()), hint: Some(hint.into()) }
    }

    /// What was to be timed gives a wrong result.
    pub fn of_wrong_result(message: impl Into<String>) -> Failure {
        let hint = "this is a fault of the program: nothing was timed; please report it";
        Failure::of_arguments(message, hint)
    }

    /// The same failure with its hint replaced.
    pub fn with_hint(self, hint: impl Into<String>) -> Failure {
        Failure { hint: Some(hint.into()), ..self }
    }

    /// What happened, without the causes.
    pub fn message(&self) -> String {
        self.error.to_string()
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Prints the failure for people and gives its exit status.
    pub fn report(&self) -> ExitCode {
        tell!("{}", self.rendered());
        ExitCode::from(self.status)
    }

    /// `error: …`, the causes, an empty line, `hint: …`.
    fn rendered(&self) -> String {
        let mut text = format!("error: {}\n", self.error);
        let mut said = self.error.to_string();
        for cause in self.error.chain().skip(1) {
            let cause = cause.to_string();
            // A transparent wrapper says what its cause says.
            if !said.contains(&cause) {
                let _ = writeln!(text, "  because: {cause}");
            }
            said = cause;
        }
        if let Some(hint) = &self.hint {
            let _ = write!(text, "\nhint: {hint}\n");
        }
        text
    }
}

/// Whatever comes out of a library as an error is about data or files, but for settings that a run was asked for; the hint is that
/// of the innermost that has one.
impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Failure {
        let error = error.into();
        let hint =
            error.chain().find_map(hint_of).or_else(|| error.chain().find_map(hint_of_system));
        let status = match error.downcast_ref::<train::Error>() {
            Some(
                train::Error::OutOfRange { .. }
                | train::Error::Model(_)
                | train::Error::NoRoom { .. },
            ) => ARGUMENTS,
            _ => DATA,
        };
        Failure { status, error, hint }
    }
}

/// The hint of an error of one of our libraries.
fn hint_of(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    None.or_else(|| error.downcast_ref::<recurra::Error>()?.hint())
        .or_else(|| error.downcast_ref::<train::Error>()?.hint())
        .or_else(|| error.downcast_ref::<inference::Error>()?.hint())
        .or_else(|| error.downcast_ref::<checkpoint::Error>()?.hint())
        .or_else(|| error.downcast_ref::<models::Error>()?.hint())
        .or_else(|| error.downcast_ref::<metrics::Error>()?.hint())
        .or_else(|| error.downcast_ref::<data::Error>()?.hint())
}

/// The hint of an error of the operating system, where no library knows better.
fn hint_of_system(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    use std::io::ErrorKind;
    let hint = match error.downcast_ref::<std::io::Error>()?.kind() {
        ErrorKind::NotFound => "check the path",
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "give yourself the right to it, or choose another place"
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            "make room on the disk, or choose another place"
        }
        _ => return None,
    };
    Some(hint.to_owned())
}

/// Makes a panic look like every other failure, with status 2: it is our fault, and says so.
pub fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        if data::panics_are_caught() {
            return;
        }
        let payload = panic.payload();
        let said = payload.downcast_ref::<&str>().copied();
        let said = said
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        let place = panic
            .location()
            .map(|place| format!(" ({}:{})", place.file(), place.line()))
            .unwrap_or_default();
        tell_line!("error: a fault of the program: {said}{place}\n");
        tell_line!(
            "hint: please report it with the command that you ran; what was saved before is still there"
        );
    }));
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn a_failure_is_its_causes_and_a_hint() {
        let error = std::io::Error::other("no space left");
        let failure: Failure = Err::<(), _>(error).context("cannot write `a`").unwrap_err().into();
        assert_eq!(failure.rendered(), "error: cannot write `a`\n  because: no space left\n");
        let failure = failure.with_hint("free some space");
        assert_eq!(
            failure.rendered(),
            "error: cannot write `a`\n  because: no space left\n\nhint: free some space\n"
        );
        assert_eq!(failure.status, DATA);
    }

    #[test]
    fn hints_come_from_whichever_library_has_one() {
        let error = data::Error::Zero { what: "batch" };
        let failure: Failure = Err::<(), _>(error).context("outside").unwrap_err().into();
        assert_eq!(
            failure.rendered(),
            "error: outside\n  because: batch is 0, expected at least 1\n\nhint: set batch to 1 or more\n"
        );
    }

    #[test]
    fn wrong_arguments_have_a_status_of_their_own() {
        let failure = Failure::of_arguments("`a` is wrong", "write `b`");
        assert_eq!(
            (failure.status, failure.rendered().as_str()),
            (2, "error: `a` is wrong\n\nhint: write `b`\n")
        );
    }
}
