//! The `session` command: how an agent tells people of itself, opens pull requests, and waits.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Parser, Subcommand, ValueEnum, builder::PossibleValue};

use crate::{
    copy_command::{self, Copy},
    hook_command,
    identity_file::IdentityFile,
    rehearse_command::{self, Rehearse},
    selftest::{self, SelfTest},
    session_protocol::{Request, Response, SOCKET, TIMEOUT_MAX, WITHIN, ask},
};

/// Exit code of a wait whose time is up, as of timeout(1).
const TIMED_OUT: u8 = 124;
/// Exit code of a wait for checks or a review where there is no pull request.
const NO_PULL_REQUEST: u8 = 3;

const EXAMPLES: &str = "\
Examples:
  session status working \"writing tests for the parser\"
  session status working \"writing tests\" --progress 40 --title \"Date parser\"
  session status needs-input \"Which database?\" --choice postgres --choice sqlite
  session status needs-input \"may I publish it?\" --kind permission
  session status done \"the pull request is ready\"
  session status failed \"the tests need a network\"
  session pr open --title \"Fix the date parser\"
  session wait checks --timeout 30m | jq -r .outcome";

const HOOK_EXAMPLES: &str = "\
Examples:
  {\"hooks\": {\"Stop\": [{\"hooks\": [{\"type\": \"command\", \"command\": \"session hook claude\"}]}]}}   settings.json of claude
  notify = [\"session\", \"hook\", \"codex\"]                                                          config.toml of codex";

const SHOW_EXAMPLES: &str = "\
Examples:
  session show
  session show --json
  git push origin HEAD:agent/$(hostname)/work     the same branch, for a shell";

const PR_EXAMPLES: &str = "\
Push a branch first: git push origin HEAD:refs/heads/agent/SLUG/NAME. Later pushes to it are revisions of the same pull
request.

Examples:
  session pr open --title \"Fix the date parser\" --body \"Closes the bug with leap seconds.\"
  session pr open --title \"Fix the date parser\" --branch work --json";

const WAIT_HELP: &str = "\
What is printed, one object:
  checks   {\"answer\":\"checks\", \"number\", \"head\", \"outcome\": passed|failed|none, \"checks\": [{\"name\", \"state\",
           \"summary\", \"url\", \"log\", \"started_at\"}]}; `log` is the end of a failed check's output, `started_at` in
           milliseconds since 1970, 0 before it began
  review   {\"answer\":\"review\", \"number\", \"head\", \"state\": open|merged|closed, \"reviews\": [{\"by\", \"verdict\", \"body\",
           \"comments\": [{\"path\", \"line\", \"quote\", \"body\"}]}]}; or the answer \"checks\" with the outcome failed, once
           for each head and each run of its checks, since nobody reviews what these do not let through
  message  {\"answer\":\"message\", \"text\"}
  and      {\"answer\":\"timed-out\"} with exit code 124
           {\"answer\":\"no-pull-request\"} with exit code 3, where checks or review have none to be of
A --pr that is not the session's own is refused, with exit code 1 and nothing printed.

Examples:
  session wait checks
  session wait review --timeout 8h
  session wait checks --pr 12
  session wait message | jq -r .text";

/// Tells the people who watch this session about it, opens its pull requests, and waits for what becomes of them.
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
        /// What a person is needed for, with needs-input; without it, an answer.
        #[arg(long, value_name = "KIND")]
        kind: Option<Kind>,
        /// How much of it is done, in percent.
        #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(0..=100))]
        progress: Option<u8>,
        /// What it is about, in a line of at most 192 bytes.
        #[arg(long, value_name = "TEXT", default_value = "")]
        title: String,
    },
    /// Takes what an agent's program hands its hooks, and tells the people who watch this session of it.
    ///
    /// For the settings of claude, codex, copilot, gemini, opencode and qwen: the program hands the event as JSON on stdin, or as the last
    /// argument (codex's notify). Nothing is printed, and the exit code is 0 whatever is handed, so that no program is in the way.
    #[command(after_help = HOOK_EXAMPLES)]
    Hook {
        /// Name of the program.
        program: String,
        /// What codex's notify adds.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
        handed: Vec<String>,
    },
    /// Says which session this is now: its slug, id, branch and generation.
    ///
    /// A fork has the memory of the session that it was made from, and programs in it keep the environment variables of that
    /// one; this is right for the fork.
    #[command(after_help = SHOW_EXAMPLES)]
    Show {
        /// Print a JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Pull requests: open
    #[command(subcommand)]
    Pr(Pr),
    /// Sleeps until something has come to pass, and prints it as JSON.
    ///
    /// The VM may be suspended meanwhile; it is resumed for the answer. What came to pass before the wait began counts too:
    /// checks that are done, a review that this session was not told of yet, a message that was not read.
    #[command(after_help = WAIT_HELP)]
    Wait {
        /// What to wait for.
        what: What,
        /// The session's pull request to wait for, as `session pr open` printed it; without it, the newest, open ones first.
        #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
        pr: Option<u64>,
        /// Longest time to wait, e.g. 90s, 30m or 8h; without it, for ever.
        #[arg(long, value_parser = seconds)]
        timeout: Option<u64>,
    },
    /// What `pilothouse cp` runs here.
    #[command(subcommand, hide = true)]
    Copy(Copy),
    /// What a warm VM runs before a session has it.
    #[command(hide = true)]
    Rehearse(Rehearse),
    /// What `hostd doctor` asks of a guest of its own.
    #[command(subcommand, hide = true)]
    SelfTest(SelfTest),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// The checks of the session's pull request: all required ones passed, or the first failed.
    Checks,
    /// A review of the session's pull request, or its end; or that its checks failed.
    Review,
    /// A message of a person.
    Message,
}

/// Seconds of a time such as `90`, `90s`, `30m`, `8h` or `2d`.
fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || "say a number of seconds, minutes, hours or days, e.g. 90s, 30m, 8h, 2d".to_owned();
    let (number, unit) = match text.char_indices().last() {
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 3600),
        Some((at, 'd')) => (&text[..at], 24 * 3600),
        _ => (text, 1),
    };
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).ok_or_else(wrong)?;
    if (1..=TIMEOUT_MAX).contains(&seconds) { Ok(seconds) } else { Err("from 1s to 365d are possible".into()) }
}

#[derive(Debug, Subcommand)]
enum Pr {
    /// Opens a pull request for a branch that was pushed, and prints its number.
    ///
    /// For a branch that has one already, it prints the number of that.
    #[command(after_help = PR_EXAMPLES)]
    Open {
        /// In a line, what it does; at most 256 bytes.
        #[arg(long, value_name = "TEXT")]
        title: String,
        /// Why, and what reviewers should know; at most 16 KiB.
        #[arg(long, value_name = "TEXT", default_value = "")]
        body: String,
        /// The branch; not needed where only one was pushed.
        #[arg(long, value_name = "NAME", default_value = "")]
        branch: String,
        /// The branch that it shall go into, if not the repository's default.
        #[arg(long, value_name = "NAME", default_value = "")]
        base: String,
        /// Print all that is known of it as JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Activity {
    /// At work.
    Working,
    /// Waits for an answer of a person.
    #[value(alias = "blocked")]
    NeedsInput,
    /// Has nothing to do.
    Idle,
    /// Finished.
    Done,
    /// Gave up.
    #[value(alias = "error")]
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// An approval.
    Permission,
    /// An answer.
    Question,
    /// A log-in, or a token.
    Auth,
}

/// Runs the command; exit code 0: done, 1: failed, 2: wrong usage; of `wait` also 124: timed out, 3: no pull request.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        // An exit code other than 0 would stop some programs.
        Err(error) if error.use_stderr() && std::env::args_os().nth(1).is_some_and(|command| command == "hook") => {
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            let printed = error.print().is_ok();
            return match error.use_stderr() {
                true => ExitCode::from(2),
                // What was asked for, like --help, has to arrive.
                false if printed => ExitCode::SUCCESS,
                false => fail(1, "cannot write to stdout"),
            };
        }
    };
    let socket = &arguments.socket;
    match arguments.command {
        Command::Status { activity, choices, .. } if activity != Activity::NeedsInput && !choices.is_empty() => {
            fail(2, "--choice goes with `session status needs-input` alone")
        }
        Command::Status { activity, kind: Some(_), .. } if activity != Activity::NeedsInput => {
            fail(2, "--kind goes with `session status needs-input` alone")
        }
        Command::Hook { program, handed } => hook_command::run(socket, &program, &handed),
        Command::Status { activity, text, choices, kind, progress, title } => {
            let name =
                |value: Option<PossibleValue>| value.map(|value| value.get_name().to_string()).unwrap_or_default();
            let (activity, kind) =
                (name(activity.to_possible_value()), name(kind.and_then(|kind| kind.to_possible_value())));
            match tell(socket, &Request::Status { activity, text, choices, kind, progress, title }, Some(WITHIN)) {
                Ok(_) => ExitCode::SUCCESS,
                Err(code) => code,
            }
        }
        Command::Show { json } => show(&socket.with_file_name("session.json"), json),
        Command::Wait { what, pr, timeout } => {
            let what = what.to_possible_value().map(|value| value.get_name().to_string()).unwrap_or_default();
            let (timeout, pull) = (timeout.unwrap_or_default(), pr.unwrap_or_default());
            match tell(socket, &Request::Wait { what, timeout, pull }, None) {
                Ok(answer) => match print(&answer, true) {
                    ExitCode::SUCCESS if answer["answer"] == "timed-out" => ExitCode::from(TIMED_OUT),
                    ExitCode::SUCCESS if answer["answer"] == "no-pull-request" => ExitCode::from(NO_PULL_REQUEST),
                    code => code,
                },
                Err(code) => code,
            }
        }
        Command::Copy(copy) => match copy_command::run(copy) {
            Ok(()) => ExitCode::SUCCESS,
            Err((code, why)) => fail(code, &why),
        },
        Command::Rehearse(rehearse) => match rehearse_command::run(&rehearse) {
            Ok(code) => ExitCode::from(code),
            Err((code, why)) => fail(code, &why),
        },
        Command::SelfTest(what) => match selftest::run(&what) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(1, &error.to_string()),
        },
        Command::Pr(Pr::Open { title, body, branch, base, json }) => {
            // The host may be away for long; it is waited for.
            match tell(socket, &Request::OpenPull { title, body, branch, base }, None) {
                Ok(answer) => print(&answer, json),
                Err(code) => code,
            }
        }
    }
}

fn show(path: &Path, json: bool) -> ExitCode {
    let identity = match IdentityFile::read(path) {
        Ok(identity) => identity,
        Err(error) => {
            let path = path.display();
            return fail(1, &format!("{path}: {error}; `session` works inside a Pilothouse session only"));
        }
    };
    let text = if json {
        identity.text()
    } else {
        let IdentityFile { id, slug, branch, generation } = identity;
        format!("session     {slug}\nid          {id}\nbranch      {branch}\ngeneration  {generation}\n")
    };
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Sends a request and returns its answer. Where that fails, the reason has been printed.
fn tell(socket: &Path, request: &Request, within: Option<Duration>) -> Result<serde_json::Value, ExitCode> {
    request.check().map_err(|why| fail(2, &why))?;
    match ask(socket, request, within) {
        Ok(Response { error: None, answer }) => Ok(answer.unwrap_or_default()),
        Ok(Response { error: Some(why), .. }) => Err(fail(1, &why)),
        Err(error) => {
            let socket = socket.display();
            let text = format!("no answer at {socket}: {error}; `session` works inside a Pilothouse session only");
            Err(fail(1, &text))
        }
    }
}

fn print(pull: &serde_json::Value, json: bool) -> ExitCode {
    let text = if json { pull.to_string() } else { pull["number"].to_string() };
    match writeln!(io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn fail(code: u8, why: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "session: {why}");
    ExitCode::from(code)
}
