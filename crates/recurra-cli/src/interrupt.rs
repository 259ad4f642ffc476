//! Signals. Ctrl-C and SIGTERM: the first asks a run to save and stop, the second ends the program at once. SIGXFSZ: a
//! file that may not grow is an error like a full disk.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::TERM_SIGNALS;
use signal_hook::flag;

/// What shells expect of a program that Ctrl-C ended.
const ENDED_BY_CTRL_C: i32 = 130;

/// From here on Ctrl-C, SIGTERM and SIGQUIT set the flag; once it is set, the next of them ends the program at once. A limit
/// on the size of files no longer ends it.
pub fn set(stop: &Arc<AtomicBool>) -> std::io::Result<()> {
    for &signal in TERM_SIGNALS {
        // The order matters: the shutdown looks at the flag before this signal sets it.
        flag::register_conditional_shutdown(signal, ENDED_BY_CTRL_C, Arc::clone(stop))?;
        flag::register(signal, Arc::clone(stop))?;
    }
    // Whoever takes note of this signal lives on, and is told of the limit by the write that failed.
    #[cfg(unix)]
    flag::register(signal_hook::consts::SIGXFSZ, Arc::default())?;
    Ok(())
}
