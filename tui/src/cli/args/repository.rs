//! Arguments of the commands on repositories.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};

use crate::cli::{complete, format};

/// Commands of `pilothouse repo`.
#[derive(Debug, Subcommand)]
pub(crate) enum RepoCommand {
    /// List the repositories
    #[command(after_help = "Example:\n  pilothouse repo ls")]
    Ls {
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Import a git repository, with all its branches and tags
    #[command(
        after_help = "A PATH is one on the host. Where it is a clone of yours, it gets the remote `pilothouse`: `git fetch
pilothouse` brings in there what was merged, `git push pilothouse main` sends what is new there.
Recipes name the repository http://pilothouse.internal/git/NAME.git.

Examples:
  pilothouse repo add https://git.example.com/widgets.git
  pilothouse repo add ~/src/widgets --name widgets --branch trunk"
    )]
    Add {
        /// Source of the repository: a URL, or a path on the host
        #[arg(value_name = "URL|PATH")]
        source: String,
        /// Name of the repository on the host [default: the last part of the source]
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// Branch that sessions begin on and pull requests go into [default: the branch that the source's HEAD names]
        #[arg(long, value_name = "BRANCH")]
        branch: Option<String>,
        /// Do not add the remote `pilothouse` to the clone at PATH
        #[arg(long)]
        no_remote: bool,
        /// Print the repository as JSON when it is there
        #[arg(long)]
        json: bool,
    },
    /// Clone a repository from its host with your own git, to fetch what was merged and to push
    #[command(
        after_help = "The clone's remote is `pilothouse::HOST/NAME`, which git reaches by the program git-remote-pilothouse: it must be
on your PATH, beside pilothouse. Of one that you have already, add the remote yourself:
  git remote add pilothouse pilothouse::NAME

Examples:
  pilothouse repo clone widgets
  pilothouse repo clone widgets ~/src/widgets"
    )]
    Clone {
        /// Name of the repository; `pilothouse repo ls` lists them
        #[arg(value_name = "NAME", add = complete::repositories())]
        name: String,
        /// Folder to clone into [default: a new folder named after the repository]
        #[arg(value_name = "DIR")]
        directory: Option<PathBuf>,
    },
    /// Show a repository and what it asks of pull requests
    #[command(
        after_help = "Examples:\n  pilothouse repo show widgets\n  pilothouse repo show widgets --json | jq .rules"
    )]
    Show {
        /// Name of the repository; `pilothouse repo ls` lists them
        #[arg(value_name = "NAME", add = complete::repositories())]
        name: String,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Bring in what is new at a repository's upstream, the place that it was added from
    #[command(
        after_help = "New branches and tags come in, and branches that have nothing of their own move on. A branch that
has commits which its upstream lacks stays: push it, or, where it says diverged, merge the two in a
clone.

Examples:
  pilothouse repo fetch widgets
  pilothouse repo set widgets --fetch-every 15m
      by itself from now on"
    )]
    Fetch {
        /// Name of the repository; `pilothouse repo ls` lists them
        #[arg(value_name = "NAME", add = complete::repositories())]
        name: String,
        /// Print a JSON array of the branches that were not the same
        #[arg(long)]
        json: bool,
    },
    /// Push merged work to a repository's upstream
    #[command(after_help = "The upstream takes it only on top of what it has.

Examples:
  pilothouse repo push widgets
      its default branch
  pilothouse repo push widgets main release-2")]
    Push {
        /// Name of the repository; `pilothouse repo ls` lists them
        #[arg(value_name = "NAME", add = complete::repositories())]
        name: String,
        /// Names of the branches to push [default: the default branch]
        #[arg(value_name = "BRANCH")]
        branches: Vec<String>,
        /// Print a JSON array of the branches
        #[arg(long)]
        json: bool,
    },
    /// Change what a repository asks of pull requests and pushes, and where it is fetched from; what is not named stays
    #[command(after_help = "Examples:
  pilothouse repo set widgets --require unit --require lint --merge squash
  pilothouse repo set widgets --require-none --approvals 0
  pilothouse repo set widgets --direct-push none
      nobody pushes to its default branch
  pilothouse repo set widgets --upstream https://git.example.com/widgets.git --fetch-every 15m")]
    Set {
        /// Name of the repository; `pilothouse repo ls` lists them
        #[arg(value_name = "NAME", add = complete::repositories())]
        name: String,
        /// Rules and upstream that change; the others stay
        #[command(flatten)]
        change: Change,
        /// Print the repository as JSON
        #[arg(long)]
        json: bool,
    },
    /// Give a repository another name. Refused while sessions or environments name it
    #[command(after_help = "Example:\n  pilothouse repo rename widgets gadgets")]
    Rename {
        /// Name of the repository; `pilothouse repo ls` lists them
        #[arg(value_name = "NAME", add = complete::repositories())]
        name: String,
        /// New name of the repository: letters, digits, dashes, dots and underscores
        #[arg(value_name = "NEW")]
        new: String,
        /// Print the repository as JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a repository from its host, with its pull requests; asks first
    #[command(after_help = "Refused while sessions, environments or open pull requests use it.

Examples:
  pilothouse repo remove widgets
  pilothouse repo remove widgets --yes --force")]
    Remove {
        /// Name of the repository; `pilothouse repo ls` lists them
        #[arg(value_name = "NAME", add = complete::repositories())]
        name: String,
        /// Remove without asking; needed where stdin is no terminal
        #[arg(long, short = 'y')]
        yes: bool,
        /// Remove also while sessions, environments or open pull requests use the repository
        #[arg(long)]
        force: bool,
    },
}

/// What `repo set` changes.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct Change {
    /// Name of a check that must pass before a merge; may be repeated. The names replace those required before
    #[arg(long, value_name = "CHECK")]
    pub(crate) require: Vec<String>,
    /// Require no check before a merge
    #[arg(long, conflicts_with = "require")]
    pub(crate) require_none: bool,
    /// Number of people who must approve the head commit before a merge, from 0 to 100
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=100))]
    pub(crate) approvals: Option<u32>,
    /// Way in which pull requests are merged
    #[arg(long, value_name = "METHOD", value_parser = ["merge", "squash", "fast-forward"])]
    pub(crate) merge: Option<String>,
    /// Keep head branches after their merge: yes or no
    #[arg(long, value_name = "YES|NO", value_parser = ["yes", "no"])]
    pub(crate) keep_branches: Option<String>,
    /// What people may push to the default branch: fast-forward (on top of what it has), none, any
    #[arg(long, value_name = "WHAT", value_parser = ["fast-forward", "none", "any"])]
    pub(crate) direct_push: Option<String>,
    /// Upstream that commits come from: a URL, a path on the host, or `none`
    #[arg(long, value_name = "URL|PATH|none")]
    pub(crate) upstream: Option<String>,
    /// Time between two fetches from the upstream, such as 15m or 1h30m, at least 1m; or `never`
    #[arg(long, value_name = "DURATION|never", value_parser = every)]
    pub(crate) fetch_every: Option<Duration>,
}

/// Parses how often an upstream is fetched; zero stands for never.
fn every(text: &str) -> Result<Duration, String> {
    if text == "never" { Ok(Duration::ZERO) } else { format::duration(text) }
}
