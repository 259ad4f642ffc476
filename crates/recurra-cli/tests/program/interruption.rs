//! Runs that are stopped or killed end as if nothing had happened, and the number of threads changes nothing.

use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use super::outcome::{Outcome, TINY, Workplace};

/// Steps of a run that takes long enough to be killed in its midst.
const STEPS: usize = 400;

fn line(out: &str) -> String {
    format!("train text.txt --out {out} {TINY} --steps {STEPS} --json")
}

#[test]
fn kills_at_any_moment_and_other_numbers_of_threads_end_with_the_same_weights() {
    let place = Workplace::with_text(20_000);
    let alone = place.run(&line("alone")).succeeds().json();

    for threads in [2, 3] {
        let out = format!("threads-{threads}");
        let report = place
            .run(&line(&out).replace("--threads 1", &format!("--threads {threads}")))
            .succeeds()
            .json();
        assert_eq!(report["weights_sha256"], alone["weights_sha256"], "{threads} threads");
    }

    // SLOW_TESTS=1 kills fifty times, which takes a minute.
    let kills = if std::env::var_os("SLOW_TESTS").is_some() { 50 } else { 8 };
    let whole_ms = (alone["seconds"].as_f64().unwrap() * 1e3) as u64;
    let (mut n_killed, mut n_finished, mut n_started) = (0, 0, 0);
    while n_killed < kills {
        let resumed_line = format!("{} --resume", line(&format!("killed-{n_finished}")));
        let mut child = silent(place.command(&resumed_line));
        // Moments all over the run, the same in every test: before the first file, between any two, at the end.
        sleep(Duration::from_millis(2 + whole_ms * (n_started * 37 % 100) / 150));
        n_started += 1;
        let is_finished = child.try_wait().unwrap().is_some();
        if !is_finished {
            child.kill().unwrap();
            child.wait().unwrap();
            n_killed += 1;
        }
        // However far it came, the rest leads to the same end; a finished run is left and another begun.
        if is_finished || n_killed == kills {
            let report = place.run(&resumed_line).succeeds().json();
            assert_eq!(report["steps"], STEPS);
            assert_eq!(report["weights_sha256"], alone["weights_sha256"], "after {n_killed} kills");
            n_finished += 1;
        }
    }
}

#[test]
#[cfg(unix)]
fn ctrl_c_and_sigterm_save_and_report() {
    let place = Workplace::with_text(20_000);
    let alone = place.run(&line("alone")).succeeds().json();
    for signal in ["INT", "TERM"] {
        let out = format!("stopped-{signal}");
        let mut command = place.command(&line(&out));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        while !place.path(&format!("{out}/training/last.safetensors")).exists() {
            assert!(child.try_wait().unwrap().is_none(), "it ended before it saved anything");
            sleep(Duration::from_millis(5));
        }
        let sent = Command::new("kill")
            .arg(format!("-{signal}"))
            .arg(child.id().to_string())
            .status()
            .unwrap();
        assert!(sent.success());
        let stopped = Outcome::new(signal, child.wait_with_output().unwrap()).succeeds();
        let report = stopped.json();
        if report["steps"] != STEPS {
            stopped.tells("saved in").tells("--resume");
        }
        let resumed = place.run(&format!("{} --resume", line(&out))).succeeds().json();
        assert_eq!(resumed["weights_sha256"], alone["weights_sha256"], "after SIG{signal}");
    }
}

fn silent(mut command: Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}
