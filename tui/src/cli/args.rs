//! The arguments, as `--help` shows them.

mod agent;
mod allow;
mod budget;
mod checkpoint;
mod copy;
mod credential;
mod diff;
mod environment;
mod forge;
mod host;
mod repository;
mod session;
mod usage;

use clap::{Parser, Subcommand};

use super::complete;

pub(crate) use agent::{AgentCommand, Try};
pub(crate) use allow::Allow;
pub(crate) use budget::{Budget, BudgetChange};
pub(crate) use checkpoint::{Checkpoint, CheckpointCommand, Which};
pub(crate) use copy::{Cp, Side};
pub(crate) use credential::CredentialCommand;
pub(crate) use diff::Diff;
pub(crate) use environment::EnvCommand;
pub(crate) use forge::{ChecksCommand, Of, OnePull, ReviewCommand, Said};
pub(crate) use host::HostCommand;
pub(crate) use repository::{Change, RepoCommand};
pub(crate) use session::{
    Answer, Attach, Bundle, Events, Exec, Explain, Fork, Forward, Log, Ls, New, Open, Rescue, Restart, Resume, Rm,
    Send, Show, Suspend, Triage, Verdict, Wait,
};
pub(crate) use usage::{By, Usage};

/// The terminal fleet console for coding agents. Without a command it opens the console.
#[derive(Debug, Parser)]
#[command(name = "pilothouse", version, max_term_width = 100, after_help = AFTER)]
pub(crate) struct Arguments {
    /// A host: a name from config.toml, unix:PATH of its socket, or ssh://HOST. May be repeated. Default: $PILOTHOUSE_HOST, else every
    /// host in config.toml, else the one on this machine
    #[arg(long = "host", global = true, value_name = "NAME|ADDRESS", add = complete::hosts())]
    pub(crate) hosts: Vec<String>,

    /// Command to run [default: the console]
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

/// Commands of `pilothouse`.
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
    /// Open a shell beside the agent, in its VM
    Open(Open),
    /// Bring ports of the session's VM onto this machine
    Forward(Forward),
    /// Copy files and folders into a session's VM, or out of it
    Cp(Cp),
    /// Type a message to the agent and submit it, or press keys
    Send(Send),
    /// Allow or deny what an agent's program needs a permission for, by the keys of its profile
    Answer(Answer),
    /// Let a session reach a destination beside those of its recipe, or take that back
    Allow(Allow),
    /// Print what the agent's terminal showed
    Log(Log),
    /// Print a session's story: what happened to it, when, and by whom
    Events(Events),
    /// Show what led to the end of crashed sessions, and what each thing that can be done about it would lose
    Triage(Triage),
    /// Put what a session has not pushed on a new branch of its repository, also of one that has crashed
    Rescue(Rescue),
    /// Pack all that tells why a session ended into a file for a report, without secrets
    Bundle(Bundle),
    /// Explain why a session stands as it does: which source said what of its agent, when, and which one decides
    Explain(Explain),
    /// Delete sessions: VM, disk and all that was not pushed
    Rm(Rm),
    /// Wait until a session is in a state
    Wait(Wait),
    /// Boot a stopped or crashed session again from its disk, or have one go back to a checkpoint
    Restart(Restart),
    /// Take a checkpoint of a running session, to which it can go back; ls lists them. Prints its number
    Checkpoint(Checkpoint),
    /// Put a running session to disk: it costs nothing until it is resumed
    Suspend(Suspend),
    /// Bring a suspended session back, exactly where it was
    Resume(Resume),
    /// Show what a session or a pull request changed, or what differs between two revisions
    Diff(Diff),
    /// Pull requests: ls, show, comment, approve, request-changes, resolve, merge, close, reopen
    #[command(
        subcommand,
        after_help = "Examples:
  pilothouse review ls
  pilothouse review show 12
  pilothouse review approve 12 Nice work
  pilothouse review merge widgets#12"
    )]
    Review(ReviewCommand),
    /// Results of CI: ls, log, rerun, report
    #[command(
        subcommand,
        after_help = "Examples:
  pilothouse checks ls 12
  pilothouse checks log 12 unit --follow
  pilothouse checks rerun 12"
    )]
    Checks(ChecksCommand),
    /// Repositories: ls, add, clone, show, fetch, push, set, rename, remove
    #[command(
        subcommand,
        after_help = "Examples:
  pilothouse repo add ~/src/widgets
  pilothouse repo set widgets --require unit --merge squash"
    )]
    Repo(RepoCommand),
    /// Make another session from one as it is now, on branches of its own. Prints its id
    Fork(Fork),
    /// Hosts: ls, show, test, add, rm, drain, undrain
    #[command(
        subcommand,
        after_help = "Examples:
  pilothouse host ls
  pilothouse --host unix:/run/hostd.sock host show"
    )]
    Host(HostCommand),
    /// Environments: ls, build, show
    #[command(
        subcommand,
        after_help = "Examples:
  pilothouse env ls
  pilothouse env build demo
  pilothouse env build ./python.toml"
    )]
    Env(EnvCommand),
    /// Agent profiles, which recipes name by `agent = "NAME"`: ls, show, try
    #[command(
        subcommand,
        after_help = "Examples:
  pilothouse agent ls
  pilothouse agent show codex
  pilothouse agent try codex"
    )]
    Agent(AgentCommand),
    /// Credentials, which stay on the host and are put into the requests of guests: ls, check
    #[command(
        subcommand,
        after_help = "Examples:
  pilothouse credential ls
  pilothouse credential check anthropic"
    )]
    Credential(CredentialCommand),
    /// Print what answers of models took: tokens and cost, by session, environment, person, day or model
    Usage(Usage),
    /// Set what models may cost a session, raise that, or take the bound off
    Budget(Budget),
    /// What git runs for a remote like pilothouse::NAME
    #[command(hide = true)]
    GitRemote {
        /// Name of the remote
        remote: String,
        /// Address of the remote, with or without `pilothouse://`
        address: String,
    },
    /// Print completions for a shell; they ask the hosts for sessions and environments
    #[command(
        after_help = "Example:\n  pilothouse completions bash > ~/.local/share/bash-completion/completions/pilothouse"
    )]
    Completions {
        /// Shell that the completions are for
        shell: clap_complete::Shell,
    },
}
