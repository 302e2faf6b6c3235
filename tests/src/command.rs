//! Running commands to their end, with everything they print.

use std::{
    io::Write,
    process::{Command, Stdio},
    thread,
};

use serde_json::Value;

/// How a command ended and what it printed.
#[derive(Debug)]
pub struct Outcome {
    /// The command that was run, for messages.
    pub line: String,
    /// Exit code; -1 when a signal ended it.
    pub code: i32,
    /// Bytes of the command's output.
    pub stdout: Vec<u8>,
    /// Text of the command's error output.
    pub stderr: String,
}

impl Outcome {
    /// The command's output as text, without the last line end. Panics unless it ended with exit code 0.
    #[must_use]
    pub fn text(&self) -> String {
        assert_eq!(self.code, 0, "{self}");
        String::from_utf8_lossy(&self.stdout).trim_end().to_owned()
    }

    /// The command's output as JSON. Panics unless it ended with exit code 0.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text()).unwrap_or_else(|error| panic!("{error} in {self}"))
    }

    /// Panics unless the command failed with this exit code and said all of this on standard error, and nothing about a panic.
    pub fn assert_failed(&self, code: i32, said: &[&str]) {
        assert_eq!(self.code, code, "{self}");
        for words in said {
            assert!(self.stderr.contains(words), "does not say {words:?}: {self}");
        }
        assert!(!self.stderr.contains("panicked"), "{self}");
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let head: String = String::from_utf8_lossy(&self.stdout).chars().take(4000).collect();
        write!(f, "{} ended with {}\n--- stdout\n{head}\n--- stderr\n{}", self.line, self.code, self.stderr)
    }
}

/// Runs `command` with `stdin` and gathers what it prints.
#[must_use]
pub fn run(command: &mut Command, stdin: &[u8]) -> Outcome {
    let line = format!("{command:?}");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{line}: {error}"));
    let mut pipe = child.stdin.take().unwrap();
    let output = thread::scope(|scope| {
        // Beside the reading, or both could wait for the other. A command need not read it all.
        scope.spawn(move || {
            let _ = pipe.write_all(stdin);
        });
        child.wait_with_output().unwrap()
    });
    Outcome {
        line,
        code: output.status.code().unwrap_or(-1),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
