//! `open`: a shell beside the agent.

use std::io::{self, IsTerminal as _};

use super::{
    args::{Exec, Open},
    exec,
    failure::{Failure, Outcome},
    fleet::Fleet,
};

/// Starts the login shell of the user, or where the user has none in this VM, sh.
const SHELL: &str = "command -v \"$SHELL\" >/dev/null && exec \"$SHELL\" -l; exec /bin/sh -l";

/// Runs `open`; its exit code is the shell's.
pub(crate) async fn run(fleet: &Fleet, options: Open) -> Outcome {
    if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
        let failure = Failure::usage("a shell needs a terminal on stdin and stdout");
        return Err(failure.hint("`pilothouse exec SESSION -- COMMAND` runs a command without one"));
    }
    let Open { id, user, directory } = options;
    let command = ["/bin/sh", "-c", SHELL].map(str::to_owned).to_vec();
    exec::run(fleet, Exec { id, tty: true, no_stdin: false, user, directory, variables: vec![], command }).await
}
