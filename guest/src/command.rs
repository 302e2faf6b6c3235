//! The `session` command: how an agent tells people of itself.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::{Parser, Subcommand, ValueEnum};

use crate::statuses::{Request, Response, SOCKET};

/// How long the guest's supervisor may take to answer.
const WITHIN: Duration = Duration::from_secs(10);
/// Longest answer.
const ANSWER_MAX: u64 = 64 << 10;

const EXAMPLES: &str = "\
Examples:
  session status working \"writing tests for the parser\"
  session status needs-input \"Which database?\" --choice postgres --choice sqlite
  session status done \"the pull request is ready\"
  session status failed \"the tests need a network\"";

/// Tells the people who watch this session about it.
#[derive(Debug, Parser)]
#[command(name = "session", version, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// The supervisor's socket.
    #[arg(long, global = true, env = "PILOTHOUSE_SOCKET", default_value = SOCKET, hide = true)]
    socket: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Says what the agent is doing now.
    ///
    /// `needs-input` asks the person who owns the session; the answer arrives on the agent's terminal. `done` and `failed`
    /// say how the task ended; the session stays as it is.
    #[command(after_help = EXAMPLES)]
    Status {
        /// What it is doing.
        activity: Activity,
        /// In a few words, at most 4096 bytes.
        #[arg(default_value = "")]
        text: String,
        /// An answer to choose from, with needs-input; may be repeated, at most 16 times.
        #[arg(long = "choice", value_name = "ANSWER")]
        choices: Vec<String>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Activity {
    /// At work.
    Working,
    /// Waits for an answer of a person.
    NeedsInput,
    /// Has nothing to do.
    Idle,
    /// Finished.
    Done,
    /// Gave up.
    Failed,
}

/// Runs it: 0 done, 1 failed, 2 wrong usage.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nowhere to say that it cannot be said.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    let Command::Status { activity, text, choices } = arguments.command;
    if activity != Activity::NeedsInput && !choices.is_empty() {
        return fail(2, "--choice goes with `session status needs-input` alone");
    }
    let activity = activity.to_possible_value().map(|value| value.get_name().to_string()).unwrap_or_default();
    let request = Request::Status { activity, text, choices };
    if let Err(why) = request.check() {
        return fail(2, &why);
    }
    match ask(&arguments.socket, &request) {
        Ok(Response { error: None }) => ExitCode::SUCCESS,
        Ok(Response { error: Some(why) }) => fail(1, &why),
        Err(error) => {
            let socket = arguments.socket.display();
            fail(1, &format!("no answer at {socket}: {error}; `session` works inside a Pilothouse session only"))
        }
    }
}

fn fail(code: u8, why: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "session: {why}");
    ExitCode::from(code)
}

fn ask(socket: &std::path::Path, request: &Request) -> io::Result<Response> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(WITHIN))?;
    stream.set_write_timeout(Some(WITHIN))?;
    let mut line = serde_json::to_string(request)?;
    line.push('\n');
    stream.write_all(line.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream.take(ANSWER_MAX)).read_line(&mut answer)?;
    Ok(serde_json::from_str(&answer)?)
}
