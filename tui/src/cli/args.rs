//! The arguments, as `--help` shows them.

mod diff;
mod forge;

use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use super::format;

pub(crate) use diff::Diff;
pub(crate) use forge::{ChecksCommand, Of, RepoCommand, ReviewCommand, Said};

/// The terminal fleet console for coding agents. Without a command it opens the console.
#[derive(Debug, Parser)]
#[command(name = "pilothouse", version, max_term_width = 100, after_help = AFTER)]
pub(crate) struct Arguments {
    /// A host: a name from config.toml, or unix:PATH of its socket. May be repeated. Default: $PILOTHOUSE_HOST, else every
    /// host in config.toml, else the one on this machine
    #[arg(long = "host", global = true, value_name = "NAME|unix:PATH")]
    pub(crate) hosts: Vec<String>,

    /// What to do
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

const AFTER: &str = "\
A session is named by its slug, its id, or a unique prefix of either.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 denied, 5 host out of reach.

Examples:
  pilothouse                                    open the console
  pilothouse new --env demo Fix the date parser
  pilothouse ls
  pilothouse attach fix-the-date-parser";

/// A command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a session: an agent at work on a task, in a microVM of its own. Prints its id
    New(New),
    /// List the sessions, those that wait for you first
    Ls(Ls),
    /// Show all there is to know of a session
    Show(Show),
    /// Bring a session's live terminal onto this one
    Attach(Attach),
    /// Run a command beside the agent, in its VM
    Exec(Exec),
    /// Type a message to the agent, with Enter
    Send(Send),
    /// Print what the agent's terminal showed
    Log(Log),
    /// Delete sessions: VM, disk and all that was not pushed
    Rm(Rm),
    /// Wait until a session is in a state
    Wait(Wait),
    /// Boot a stopped or crashed session again from its disk
    Restart(Restart),
    /// Put a running session to disk: it costs nothing until it is resumed
    Suspend(Suspend),
    /// Bring a suspended session back, exactly where it was
    Resume(Resume),
    /// Show what a session or a pull request changed, or what differs between two revisions
    Diff(Diff),
    /// Pull requests: ls, show, comment, approve, request-changes, merge
    #[command(subcommand)]
    Review(ReviewCommand),
    /// Results of CI: ls, log, report
    #[command(subcommand)]
    Checks(ChecksCommand),
    /// Repositories: ls, add, show, set
    #[command(subcommand)]
    Repo(RepoCommand),
    /// Make another session from one as it is now, on branches of its own. Prints its id
    Fork(Fork),
    /// Hosts: ls, show
    #[command(subcommand)]
    Host(HostCommand),
    /// Environments: ls, build, show
    #[command(subcommand)]
    Env(EnvCommand),
    /// Print completions for a shell
    #[command(
        after_help = "Example:\n  pilothouse completions bash > ~/.local/share/bash-completion/completions/pilothouse"
    )]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Of `new`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pilothouse new --env demo Fix the date parser
  pilothouse new --env demo --title spike -- bash -l
  id=$(pilothouse new --env demo 'Add tests') && pilothouse wait \"$id\" --until done")]
pub(crate) struct New {
    /// The environment it works in; `pilothouse env ls` lists them
    #[arg(long, short = 'e', value_name = "NAME")]
    pub(crate) env: String,
    /// What people call it; made from the task otherwise
    #[arg(long, short = 't')]
    pub(crate) title: Option<String>,
    /// Print the whole session as JSON instead of its id
    #[arg(long)]
    pub(crate) json: bool,
    /// What the agent is asked to do; several words are joined by blanks
    #[arg(value_name = "TASK")]
    pub(crate) task: Vec<String>,
    /// Run this instead of the environment's agent
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

/// Of `ls`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pilothouse ls
  pilothouse ls --json | jq -r '.[] | select(.attention == \"you\") | .slug'")]
pub(crate) struct Ls {
    /// Print a JSON array
    #[arg(long)]
    pub(crate) json: bool,
}

/// Of `show`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pilothouse show fix-parser
  pilothouse show fix-parser --json | jq -r .reason")]
pub(crate) struct Show {
    /// Slug, id, or a unique prefix
    #[arg(value_name = "SESSION")]
    pub(crate) id: String,
    /// Print a JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Of `attach`.
#[derive(Debug, Args)]
#[command(after_help = "Keys, after the prefix Ctrl-]:
  d       detach; the agent works on
  w       become the one who types
  ?       help
  Ctrl-]  a Ctrl-] for the agent

Examples:
  pilothouse attach fix-parser
  pilothouse attach fix-parser --observe")]
pub(crate) struct Attach {
    /// Slug, id, or a unique prefix
    #[arg(value_name = "SESSION")]
    pub(crate) id: String,
    /// Only watch; nothing typed reaches the agent
    #[arg(long)]
    pub(crate) observe: bool,
}

/// Of `exec`.
#[derive(Debug, Args)]
#[command(
    after_help = "Stdin, stdout, stderr and the exit code are the command's own; bytes pass unchanged. Ctrl-C reaches
the command; a second one hangs up.

Examples:
  pilothouse exec fix-parser -- git status
  pilothouse exec fix-parser -t -- bash
  tar c src | pilothouse exec fix-parser -C /tmp -- tar x"
)]
pub(crate) struct Exec {
    /// Slug, id, or a unique prefix
    #[arg(value_name = "SESSION")]
    pub(crate) id: String,
    /// Give the command a terminal
    #[arg(long, short = 't')]
    pub(crate) tty: bool,
    /// Start it in this directory instead of the agent's
    #[arg(long, short = 'C', value_name = "PATH")]
    pub(crate) directory: Option<String>,
    /// Set an environment variable for it; may be repeated
    #[arg(long = "env", short = 'e', value_name = "NAME=VALUE", value_parser = variable)]
    pub(crate) variables: Vec<(String, String)>,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

/// Of `send`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pilothouse send fix-parser Use the second one
  pilothouse send fix-parser -- --yes")]
pub(crate) struct Send {
    /// Slug, id, or a unique prefix
    #[arg(value_name = "SESSION")]
    pub(crate) id: String,
    /// What to type; several words are joined by blanks
    #[arg(required = true, value_name = "TEXT")]
    pub(crate) text: Vec<String>,
    /// Print the session that it was sent to, as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Of `log`.
#[derive(Debug, Args)]
#[command(after_help = "On a terminal, only text and its colours are shown; elsewhere every byte is passed on.

Examples:
  pilothouse log fix-parser | less -R
  pilothouse log fix-parser --serial | tail")]
pub(crate) struct Log {
    /// Slug, id, or a unique prefix
    #[arg(value_name = "SESSION")]
    pub(crate) id: String,
    /// The serial console of its VM instead: what the kernel said
    #[arg(long)]
    pub(crate) serial: bool,
}

/// Of `rm`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pilothouse rm fix-parser
  pilothouse ls --json | jq -r '.[] | select(.activity == \"done\") | .id' | xargs pilothouse rm --yes")]
pub(crate) struct Rm {
    /// Slugs, ids, or unique prefixes
    #[arg(required = true, value_name = "SESSION")]
    pub(crate) ids: Vec<String>,
    /// Do not ask
    #[arg(long, short = 'y')]
    pub(crate) yes: bool,
    /// Print a JSON array: of each whether it is gone, and why not
    #[arg(long)]
    pub(crate) json: bool,
}

/// Of `wait`.
#[derive(Debug, Args)]
#[command(after_help = "States:
  lifecycle   queued starting running suspending suspended resuming stopped crashed deleted
  activity    working needs-input waiting-checks waiting-review idle done failed
  whose turn  agent you checks other nobody

Exit codes: 0 as soon as one of them holds, 1 when none can come any more or the time is up, 3 when
the session was deleted.

Examples:
  pilothouse wait fix-parser --until done
  pilothouse wait fix-parser --until done,failed,needs-input --timeout 30m")]
pub(crate) struct Wait {
    /// Slug, id, or a unique prefix
    #[arg(value_name = "SESSION")]
    pub(crate) id: String,
    /// The states to wait for, divided by commas
    #[arg(long, required = true, value_delimiter = ',', value_name = "STATE")]
    pub(crate) until: Vec<String>,
    /// Give up after this long: 30s, 5m, 1h30m
    #[arg(long, value_parser = format::duration, value_name = "DURATION")]
    pub(crate) timeout: Option<Duration>,
    /// Print the session as JSON when it is so
    #[arg(long)]
    pub(crate) json: bool,
}

/// Of `restart`.
#[derive(Debug, Args)]
#[command(
    after_help = "A suspended session can be restarted where it could not be resumed: it boots from its disk as it was
suspended, and what was in its memory is given up.

Examples:
  pilothouse restart fix-parser
  pilothouse restart fix-parser --yes"
)]
pub(crate) struct Restart {
    /// Slug, id, or a unique prefix
    #[arg(value_name = "SESSION")]
    pub(crate) id: String,
    /// Do not ask before a suspended session's memory is given up
    #[arg(long, short = 'y')]
    pub(crate) yes: bool,
    /// Print the session as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Of `suspend`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pilothouse suspend fix-parser
  pilothouse suspend fix-parser --json | jq .suspended_bytes")]
pub(crate) struct Suspend {
    /// Slug, id, or a unique prefix
    #[arg(value_name = "SESSION")]
    pub(crate) id: String,
    /// Print the session as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Of `resume`.
#[derive(Debug, Args)]
#[command(after_help = "exec, send and attach resume a session by themselves.

Example:
  pilothouse resume fix-parser")]
pub(crate) struct Resume {
    /// Slug, id, or a unique prefix
    #[arg(value_name = "SESSION")]
    pub(crate) id: String,
    /// Print the session as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Of `fork`.
#[derive(Debug, Args)]
#[command(
    after_help = "The fork has the same memory, processes and files, and its own name, identity and branches. A running
session stands still for a moment and goes on; a suspended one stays suspended. Programs that run already keep
the environment variables that they were started with: inside, `session show` says which session it is now.

Examples:
  pilothouse fork fix-parser
  id=$(pilothouse fork fix-parser --title 'the other way') && pilothouse send \"$id\" Try it without regexes"
)]
pub(crate) struct Fork {
    /// Slug, id, or a unique prefix
    #[arg(value_name = "SESSION")]
    pub(crate) id: String,
    /// What people call it; "fork of ..." otherwise
    #[arg(long, short = 't')]
    pub(crate) title: Option<String>,
    /// Print the whole session as JSON instead of its id
    #[arg(long)]
    pub(crate) json: bool,
}

/// Of `host`.
#[derive(Debug, Subcommand)]
pub(crate) enum HostCommand {
    /// List the hosts
    #[command(after_help = "Example:\n  pilothouse host ls")]
    Ls {
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show all there is to know of a host, and what keeps it from starting VMs
    #[command(after_help = "Examples:\n  pilothouse host show\n  pilothouse host show --json | jq .accelerator")]
    Show {
        /// A host's name; not needed where there is one
        #[arg(value_name = "NAME")]
        name: Option<String>,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
}

/// Of `env`.
#[derive(Debug, Subcommand)]
pub(crate) enum EnvCommand {
    /// List the environments
    #[command(after_help = "Example:\n  pilothouse env ls")]
    Ls {
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Build an environment, so that sessions can start in it
    #[command(
        after_help = "A FILE is anything that ends in .toml or has a / in it. A build whose inputs were built before
ends at once. Ctrl-C stops the watching, not the build.

Examples:
  pilothouse env build demo
  pilothouse env build ./python.toml"
    )]
    Build {
        /// Name of a known environment, or a recipe's file, which is registered first
        #[arg(value_name = "NAME|FILE")]
        environment: String,
        /// Print the environment as JSON when it is built
        #[arg(long)]
        json: bool,
    },
    /// Show an environment and its recipe
    #[command(after_help = "Examples:\n  pilothouse env show demo\n  pilothouse env show demo --json | jq -r .recipe")]
    Show {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        _ => Err("write it NAME=VALUE".into()),
    }
}
