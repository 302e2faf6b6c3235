//! Arguments of the commands on pull requests and checks.

use std::ffi::OsString;

use clap::{Args, Subcommand};

use crate::cli::complete;

/// Commands of `pilothouse review`.
#[derive(Debug, Subcommand)]
pub(crate) enum ReviewCommand {
    /// List the queue: open pull requests, with checks and reviews
    #[command(after_help = "Examples:
  pilothouse review ls
  pilothouse review ls --json | jq -r '.[] | select(.blocked == null) | .id'")]
    Ls {
        /// List the pull requests of this repository alone [default: of all repositories]
        #[arg(long, value_name = "NAME", add = complete::repositories())]
        repo: Option<String>,
        /// List merged and closed pull requests, too
        #[arg(long)]
        all: bool,
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show a pull request: revisions, checks, reviews, threads
    #[command(after_help = "Examples:\n  pilothouse review show 12\n  pilothouse review show widgets#12 --json")]
    Show {
        /// Pull request: NUMBER, or REPOSITORY#NUMBER where several repositories have that number
        #[arg(value_name = "PR", add = complete::all_pulls())]
        id: String,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Comment on a pull request, on one of its files or lines, or in a thread
    #[command(after_help = "Examples:
  pilothouse review comment 12 Looks good so far
  pilothouse review comment 12 --file src/parser.rs --line 40 Why not saturate?
  pilothouse review comment 12 --thread 3 Right, thanks
  pilothouse review comment 12 --at src/parser.rs:40 'Why not saturate?' --at NEWS 'Say so here'")]
    Comment {
        /// Text of the review, and the pull request that it is of
        #[command(flatten)]
        said: Said,
        /// Path of the file that the comment is on, as it is in the head commit
        #[arg(long, value_name = "PATH", conflicts_with = "thread")]
        file: Option<OsString>,
        /// Number of the line that the comment is on, from 1
        #[arg(long, value_name = "N", requires = "file", value_parser = clap::value_parser!(u32).range(1..))]
        line: Option<u32>,
        /// Number of the thread that the comment is in; `review show` has their numbers
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        thread: Option<u64>,
    },
    /// Approve the head of a pull request
    #[command(after_help = "Examples:\n  pilothouse review approve 12\n  pilothouse review approve 12 Nice work")]
    Approve {
        /// Text of the review, and the pull request that it is of
        #[command(flatten)]
        said: Said,
    },
    /// Say what must change before it can be merged
    #[command(after_help = "Examples:
  pilothouse review request-changes 12 The empty file is not handled
  pilothouse review request-changes 12 Almost --at src/parser.rs:40 'Why not saturate?'
      the verdict and its comments in one review, so that the agent reads them together")]
    RequestChanges {
        /// Text of the review, and the pull request that it is of
        #[command(flatten)]
        said: Said,
    },
    /// Settle a thread of comments, so that nobody looks at it again
    #[command(after_help = "Examples:\n  pilothouse review resolve 12 3\n  pilothouse review resolve 12 3 --undo")]
    Resolve {
        /// Pull request: NUMBER, or REPOSITORY#NUMBER where several repositories have that number
        #[arg(value_name = "PR", add = complete::pulls())]
        id: String,
        /// Number of the thread; `review show` has their numbers
        #[arg(value_name = "THREAD", value_parser = clap::value_parser!(u64).range(1..))]
        thread: u64,
        /// Open the thread again instead
        #[arg(long)]
        undo: bool,
        /// Print the pull request as JSON
        #[arg(long)]
        json: bool,
    },
    /// Merge a pull request, as its repository says
    #[command(
        after_help = "Examples:\n  pilothouse review merge 12\n  pilothouse review merge widgets#12 --yes --json"
    )]
    Merge {
        /// Pull request: NUMBER, or REPOSITORY#NUMBER where several repositories have that number
        #[arg(value_name = "PR", add = complete::pulls())]
        id: String,
        /// Commit that must be the head, or it is refused [default: the head that it has now]
        #[arg(long, value_name = "COMMIT")]
        head: Option<String>,
        /// Merge without asking; needed where stdin is no terminal
        #[arg(long, short = 'y')]
        yes: bool,
        /// Print the pull request as JSON
        #[arg(long)]
        json: bool,
    },
    /// Close a pull request without merging it; its branch stays
    #[command(after_help = "Examples:\n  pilothouse review close 12\n  pilothouse review close widgets#12 --json")]
    Close {
        /// The pull request, and how it is shown
        #[command(flatten)]
        which: OnePull,
    },
    /// Open a closed pull request again, with what was pushed meanwhile; a head branch that is gone is made again
    #[command(after_help = "Examples:\n  pilothouse review reopen 12\n  pilothouse review reopen widgets#12 --json")]
    Reopen {
        /// The pull request, and how it is shown
        #[command(flatten)]
        which: OnePull,
    },
}

/// A pull request, and how it is shown.
#[derive(Debug, Args)]
pub(crate) struct OnePull {
    /// Pull request: NUMBER, or REPOSITORY#NUMBER where several repositories have that number
    #[arg(value_name = "PR", add = complete::all_pulls())]
    pub(crate) id: String,
    /// Print the pull request as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What a reviewer says.
#[derive(Debug, Args)]
pub(crate) struct Said {
    /// Pull request: NUMBER, or REPOSITORY#NUMBER where several repositories have that number
    #[arg(value_name = "PR", add = complete::pulls())]
    pub(crate) id: String,
    /// Text of the review; several words are joined by blanks
    #[arg(value_name = "TEXT")]
    pub(crate) text: Vec<String>,
    /// Add this comment on a line of a file, or on a file, as they are in the head commit; may be repeated
    #[arg(long, num_args = 2, value_names = ["FILE[:LINE]", "COMMENT"])]
    pub(crate) at: Vec<OsString>,
    /// Commit that must be the head, or it is refused [default: the head that it has now]
    #[arg(long, value_name = "COMMIT")]
    pub(crate) head: Option<String>,
    /// Number of the revision that the review is of, though a newer one may be there [default: the newest]
    #[arg(long, value_name = "N", conflicts_with = "head", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) revision: Option<u32>,
    /// Print the pull request as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Commands of `pilothouse checks`.
#[derive(Debug, Subcommand)]
pub(crate) enum ChecksCommand {
    /// List the checks of a pull request's head, or of a commit
    #[command(after_help = "Examples:
  pilothouse checks ls 12
  pilothouse checks ls --repo widgets --commit 4f2a91c --json")]
    Ls {
        /// The pull request or the commit whose checks are meant
        #[command(flatten)]
        of: Of,
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Run checks again that the host runs
    #[command(after_help = "Examples:
  pilothouse checks rerun 12
      all of its head that are over and did not pass
  pilothouse checks rerun 12 unit
  pilothouse checks rerun --repo widgets --commit 4f2a91c unit")]
    Rerun {
        /// The pull request or the commit whose checks are meant
        #[command(flatten)]
        of: Of,
        /// Name of the check [default: all that are over and did not pass]
        #[arg(value_name = "NAME")]
        name: Option<String>,
    },
    /// Print what a check printed
    #[command(after_help = "Examples:
  pilothouse checks log 12 unit | less -R
  pilothouse checks log 12 unit --follow")]
    Log {
        /// The pull request or the commit whose checks are meant
        #[command(flatten)]
        of: Of,
        /// Name of the check; not needed where there is one
        #[arg(value_name = "NAME")]
        name: Option<String>,
        /// Go on with what the check prints, until it is over
        #[arg(long)]
        follow: bool,
    },
    /// Report a check's state: for CI that runs elsewhere
    #[command(after_help = "Examples:
  pilothouse checks report --repo widgets --commit $(git rev-parse HEAD) --name unit --state running
  pilothouse checks report --repo widgets --commit 4f2a91c --name unit --state failed \\
      --summary '2 of 40 failed' --url https://ci.example.com/7 --log test.log")]
    Report {
        /// Name of the repository
        #[arg(long, value_name = "NAME", add = complete::repositories())]
        repo: String,
        /// Commit that was checked: its id, or at least the first 7 digits of it
        #[arg(long, value_name = "COMMIT")]
        commit: String,
        /// Name of the check
        #[arg(long, value_name = "NAME")]
        name: String,
        /// State of the check
        #[arg(long, value_parser = ["queued", "running", "passed", "failed", "errored", "cancelled"])]
        state: String,
        /// URL where people read more
        #[arg(long, value_name = "URL")]
        url: Option<String>,
        /// What the check found, in a line
        #[arg(long, value_name = "TEXT")]
        summary: Option<String>,
        /// File with what the check printed, which is kept; `-` reads stdin. Of a long one the end is kept
        #[arg(long, value_name = "FILE")]
        log: Option<std::path::PathBuf>,
    },
}

/// The commit whose checks are meant: the head of a pull request, or one that is named.
#[derive(Debug, Args)]
pub(crate) struct Of {
    /// A pull request: NUMBER, or REPOSITORY#NUMBER
    #[arg(value_name = "PR", required_unless_present = "commit", add = complete::all_pulls())]
    pub(crate) pull: Option<String>,
    /// Name of the repository that has the commit
    #[arg(long, value_name = "NAME", requires = "commit", add = complete::repositories())]
    pub(crate) repo: Option<String>,
    /// Commit whose checks are meant, instead of a pull request's head
    #[arg(long, value_name = "COMMIT", requires = "repo")]
    pub(crate) commit: Option<String>,
}
