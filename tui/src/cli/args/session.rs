//! Of sessions.

use std::time::Duration;

use clap::Args;

use crate::cli::{complete, format};

/// Of `new`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pilothouse new --env demo Fix the date parser
  pilothouse new --env demo --title spike -- bash -l
  id=$(pilothouse new --env demo 'Add tests') && pilothouse wait \"$id\" --until done")]
pub(crate) struct New {
    /// The environment it works in; `pilothouse env ls` lists them
    #[arg(long, short = 'e', value_name = "NAME", add = complete::environments())]
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
    #[arg(value_name = "SESSION", add = complete::sessions())]
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
  c       copy what the program offers for the clipboard (config.toml: `copy`)
  ?       help
  Ctrl-]  a Ctrl-] for the agent

Examples:
  pilothouse attach fix-parser
  pilothouse attach fix-parser --observe")]
pub(crate) struct Attach {
    /// Slug, id, or a unique prefix
    #[arg(value_name = "SESSION", add = complete::sessions())]
    pub(crate) id: String,
    /// Only watch; nothing typed reaches the agent
    #[arg(long)]
    pub(crate) observe: bool,
}

/// Of `exec`.
#[derive(Debug, Args)]
#[command(
    after_help = "Stdin, stdout, stderr and the exit code are the command's own; bytes pass unchanged. Ctrl-C reaches
the command; a second one hangs up. A session that is being started, or is suspended, is waited for.
All of stdin is read, also where the command wants none of it: say -n in loops that read theirs. In
the background nothing is read of a terminal.

Examples:
  pilothouse exec fix-parser -- git status
  pilothouse exec fix-parser -t -- bash
  pilothouse exec fix-parser --user root -- apt-get install -y jq
  pilothouse ls --json | jq -r '.[].slug' | while read s; do pilothouse exec -n $s -- git status -s; done
  tar c src | pilothouse exec fix-parser -C /tmp -- tar x"
)]
pub(crate) struct Exec {
    /// Slug, id, or a unique prefix
    #[arg(value_name = "SESSION", add = complete::sessions())]
    pub(crate) id: String,
    /// Give the command a terminal
    #[arg(long, short = 't')]
    pub(crate) tty: bool,
    /// Read no stdin; the command's is empty
    #[arg(long = "no-stdin", short = 'n', conflicts_with = "tty")]
    pub(crate) no_stdin: bool,
    /// Run it as this user of the VM instead of the agent's
    #[arg(long, short = 'u', value_name = "NAME", default_value = "", hide_default_value = true)]
    pub(crate) user: String,
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
#[command(
    after_help = "A text is submitted as a message of its own: as a paste with Enter where the agent's program asked
for bracketed paste, else with Enter after the program has read the text. Without a text, the
message is what is on stdin; where that is a terminal, $VISUAL or $EDITOR is opened to write it in.

Keys are Enter, Esc, Tab, Space, Backspace, Up, Down, Left, Right, Home, End, Insert, Delete,
PageUp, PageDown, F1 to F12 and single characters, with C-, M- and S- for Ctrl, Alt and Shift.

Examples:
  pilothouse send fix-parser Use the second one
  pilothouse send fix-parser -- --yes
  pilothouse send fix-parser <review.md
  pilothouse send fix-parser --key Down --key Enter
  pilothouse send fix-parser --key C-c
  pilothouse send fix-parser --no-enter '/model '"
)]
pub(crate) struct Send {
    /// Slug, id, or a unique prefix
    #[arg(value_name = "SESSION", add = complete::sessions())]
    pub(crate) id: String,
    /// What to type; several words are joined by blanks
    #[arg(value_name = "TEXT")]
    pub(crate) text: Vec<String>,
    /// Type the text and do not submit it
    #[arg(long)]
    pub(crate) no_enter: bool,
    /// Press this key instead of typing a text; may be repeated
    #[arg(long, short = 'k', value_name = "KEY", conflicts_with_all = ["text", "no_enter"])]
    pub(crate) key: Vec<String>,
    /// Print the session that it was sent to, as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Of `events`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pilothouse events fix-parser
  pilothouse events fix-parser --follow
  pilothouse events fix-parser --json | jq -r 'select(.actor.kind == \"person\") | .what'")]
pub(crate) struct Events {
    /// Slug, id, or a unique prefix; of a session that is gone, its whole id
    #[arg(value_name = "SESSION", add = complete::sessions())]
    pub(crate) id: String,
    /// Print a JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
    /// Go on with what happens, until the session is deleted
    #[arg(long, short = 'f')]
    pub(crate) follow: bool,
    /// Begin with the newest N
    #[arg(long, short = 'n', value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: Option<u32>,
}

/// Of `log`.
#[derive(Debug, Args)]
#[command(
    after_help = "On a terminal, only text and its colours are shown (and erasing within a line); elsewhere every byte
is passed on.

Examples:
  pilothouse log fix-parser | less -R
  pilothouse log fix-parser --follow
  pilothouse log fix-parser --serial | tail"
)]
pub(crate) struct Log {
    /// Slug, id, or a unique prefix
    #[arg(value_name = "SESSION", add = complete::sessions())]
    pub(crate) id: String,
    /// The serial console of its VM instead: what the kernel said
    #[arg(long)]
    pub(crate) serial: bool,
    /// Go on with what comes, until the session is deleted
    #[arg(long, short = 'f')]
    pub(crate) follow: bool,
}

/// Of `rm`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pilothouse rm fix-parser
  pilothouse ls --json | jq -r '.[] | select(.activity == \"done\") | .id' | xargs pilothouse rm --yes")]
pub(crate) struct Rm {
    /// Slugs, ids, or unique prefixes
    #[arg(required = true, value_name = "SESSION", add = complete::sessions())]
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
  activity    not-started working needs-input waiting-checks waiting-review idle done failed ended
  whose turn  agent you checks other nobody

Exit codes: 0 as soon as one of them holds, 1 when none can come any more or the time is up, 3 when
the session was deleted.

Examples:
  pilothouse wait fix-parser --until done
  pilothouse wait fix-parser --until done,failed,needs-input --timeout 30m")]
pub(crate) struct Wait {
    /// Slug, id, or a unique prefix
    #[arg(value_name = "SESSION", add = complete::sessions())]
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
    after_help = "A suspended session boots from its disk as it was suspended, and what is in its memory is given up:
that is for one that cannot be resumed, or whose agent has ended.

Examples:
  pilothouse restart fix-parser
  pilothouse restart fix-parser --yes"
)]
pub(crate) struct Restart {
    /// Slug, id, or a unique prefix
    #[arg(value_name = "SESSION", add = complete::sessions())]
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
    #[arg(value_name = "SESSION", add = complete::sessions())]
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
    #[arg(value_name = "SESSION", add = complete::sessions())]
    pub(crate) id: String,
    /// Print the session as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Of `fork`.
#[derive(Debug, Args)]
#[command(after_help = "The fork has the same memory, processes and files, and its own name, identity and branches. A
running session stands still for a moment and goes on; a suspended one stays suspended. Programs
that run already keep the environment variables that they were started with: inside, `session show`
says which session it is now.

Examples:
  pilothouse fork fix-parser
  id=$(pilothouse fork fix-parser --title 'the other way') && pilothouse send \"$id\" Try it without regexes")]
pub(crate) struct Fork {
    /// Slug, id, or a unique prefix
    #[arg(value_name = "SESSION", add = complete::sessions())]
    pub(crate) id: String,
    /// What people call it; "fork of ..." otherwise
    #[arg(long, short = 't')]
    pub(crate) title: Option<String>,
    /// Print the whole session as JSON instead of its id
    #[arg(long)]
    pub(crate) json: bool,
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        _ => Err("write it NAME=VALUE".into()),
    }
}
