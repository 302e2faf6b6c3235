//! The arguments, as `--help` shows them.

mod diff;
mod environment;
mod forge;
mod host;
mod repository;
mod session;

use clap::{Parser, Subcommand};

use super::complete;

pub(crate) use diff::Diff;
pub(crate) use environment::EnvCommand;
pub(crate) use forge::{ChecksCommand, Of, OnePull, ReviewCommand, Said};
pub(crate) use host::HostCommand;
pub(crate) use repository::{Change, RepoCommand};
pub(crate) use session::{Attach, Events, Exec, Fork, Log, Ls, New, Restart, Resume, Rm, Send, Show, Suspend, Wait};

/// The terminal fleet console for coding agents. Without a command it opens the console.
#[derive(Debug, Parser)]
#[command(name = "pilothouse", version, max_term_width = 100, after_help = AFTER)]
pub(crate) struct Arguments {
    /// A host: a name from config.toml, or unix:PATH of its socket. May be repeated. Default: $PILOTHOUSE_HOST, else every
    /// host in config.toml, else the one on this machine
    #[arg(long = "host", global = true, value_name = "NAME|unix:PATH", add = complete::hosts())]
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
    /// Type a message to the agent and submit it, or press keys
    Send(Send),
    /// Print what the agent's terminal showed
    Log(Log),
    /// Print a session's story: what happened to it, when, and by whom
    Events(Events),
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
    /// Pull requests: ls, show, comment, approve, request-changes, resolve, merge, close, reopen
    #[command(subcommand)]
    Review(ReviewCommand),
    /// Results of CI: ls, log, rerun, report
    #[command(subcommand)]
    Checks(ChecksCommand),
    /// Repositories: ls, add, clone, show, fetch, push, set, rename, remove
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
    /// What git runs for a remote like pilothouse::NAME
    #[command(hide = true)]
    GitRemote {
        /// The remote's name
        remote: String,
        /// Its address, with or without `pilothouse://`
        address: String,
    },
    /// Print completions for a shell; they ask the hosts for sessions and environments
    #[command(
        after_help = "Example:\n  pilothouse completions bash > ~/.local/share/bash-completion/completions/pilothouse"
    )]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}
