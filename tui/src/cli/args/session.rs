//! Arguments of the commands on sessions.

use std::{net::IpAddr, time::Duration};

use clap::{Args, ValueEnum};

use super::{budget::amount, checkpoint::Which};
use crate::cli::{complete, format, forward::Ports};

/// Arguments of `pilothouse new`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pilothouse new --env demo Fix the date parser
  pilothouse new --env demo --title spike -- bash -l
  pilothouse new --env demo --budget 5 Try the new parser
  id=$(pilothouse new --env demo 'Add tests') && pilothouse wait \"$id\" --until done")]
pub(crate) struct New {
    /// Name of the environment that the session works in; `pilothouse env ls` lists them
    #[arg(long, short = 'e', value_name = "NAME", add = complete::environments())]
    pub(crate) env: String,
    /// Title of the session, for people [default: made from the task]
    #[arg(long, short = 't')]
    pub(crate) title: Option<String>,
    /// Amount in US dollars that models may cost the session, or none [default: as the environment's recipe says]
    #[arg(long, value_name = "AMOUNT", value_parser = amount)]
    pub(crate) budget: Option<u64>,
    /// Print the whole session as JSON instead of its id
    #[arg(long)]
    pub(crate) json: bool,
    /// Task of the agent; several words are joined by blanks
    #[arg(value_name = "TASK")]
    pub(crate) task: Vec<String>,
    /// Command to run instead of the environment's agent, with its arguments
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

/// Arguments of `pilothouse ls`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pilothouse ls
  pilothouse ls --json | jq -r '.[] | select(.attention == \"you\") | .slug'")]
pub(crate) struct Ls {
    /// Print a JSON array
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `pilothouse show`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pilothouse show fix-parser
  pilothouse show fix-parser --json | jq -r .reason")]
pub(crate) struct Show {
    /// Session: its slug, its id, or a unique prefix of either
    #[arg(value_name = "SESSION", add = complete::sessions())]
    pub(crate) id: String,
    /// Print a JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `pilothouse explain`.
#[derive(Debug, Args)]
#[command(
    after_help = "Sources, best first: session-status (the agent's own word), osc-7501 (its program, by the Program Status
Protocol), hook, gateway (limits of its model), terminal (title, text at the cursor, progress), bell, osc-9,
osc-99 and osc-777 (it calls for a person), screen (prompt, silence). An asterisk marks the one that decides.

Examples:
  pilothouse explain fix-parser
  pilothouse explain fix-parser --json | jq -r .decides"
)]
pub(crate) struct Explain {
    /// Session: its slug, its id, or a unique prefix of either
    #[arg(value_name = "SESSION", add = complete::sessions())]
    pub(crate) id: String,
    /// Print a JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `pilothouse triage`.
#[derive(Debug, Args)]
#[command(
    after_help = "Without a session: all that have crashed, and those whose agents have ended badly, the newest end first.
With one: its cause, the last lines of its console and its terminal, what its VM took in the minutes before, and
what can be done about it. The words of causes are in docs/causes.md.

Examples:
  pilothouse triage
  pilothouse triage fix-parser
  pilothouse triage --json | jq -r '.[] | [.session.slug, .session.cause_word] | @tsv'"
)]
pub(crate) struct Triage {
    /// Session: its slug, its id, or a unique prefix of either [default: all that have ended badly]
    #[arg(value_name = "SESSION", add = complete::sessions())]
    pub(crate) id: Option<String>,
    /// Print a JSON array
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `pilothouse rescue`.
#[derive(Debug, Args)]
#[command(
    after_help = "Commits what differs from the session's merge base, pushed or not, committed or not, but for what .gitignore names, as one
commit on a branch agent/SLUG/rescue-1 (or the next number that is free). Of a session that has crashed or is stopped it
is read in a VM that boots from a copy of its disk, of a suspended one in a copy of its VM: no agent runs there.

Examples:
  pilothouse rescue fix-parser
  pilothouse rescue fix-parser --json | jq -r .branch"
)]
pub(crate) struct Rescue {
    /// Session: its slug, its id, or a unique prefix of either
    #[arg(value_name = "SESSION", add = complete::sessions())]
    pub(crate) id: String,
    /// Print a JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `pilothouse bundle`.
#[derive(Debug, Args)]
#[command(
    after_help = "The tar has the session's record, its story, its cause, what its VM took in the minutes before, and the ends of what its
guest's console, its QEMU and its agent's terminal have shown. It has no disk, no memory, no key, and no value of
a variable of its environment that is found in it. Its task, its messages and what its terminal showed are in clear: look at
session.json, triage.json, story.jsonl and the logs yourself before you pass it on.

Examples:
  pilothouse bundle fix-parser
  pilothouse bundle fix-parser --out - | tar -t"
)]
pub(crate) struct Bundle {
    /// Session: its slug, its id, or a unique prefix of either
    #[arg(value_name = "SESSION", add = complete::sessions())]
    pub(crate) id: String,
    /// File to write, which is not there yet; - is stdout [default: SLUG.tar]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<String>,
}

/// Arguments of `pilothouse attach`.
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
    /// Session: its slug, its id, or a unique prefix of either
    #[arg(value_name = "SESSION", add = complete::sessions())]
    pub(crate) id: String,
    /// Only watch; nothing typed reaches the agent
    #[arg(long)]
    pub(crate) observe: bool,
}

/// Arguments of `pilothouse exec`.
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
    /// Session: its slug, its id, or a unique prefix of either
    #[arg(value_name = "SESSION", add = complete::sessions())]
    pub(crate) id: String,
    /// Give the command a terminal
    #[arg(long, short = 't')]
    pub(crate) tty: bool,
    /// Read no stdin; the command's is empty
    #[arg(long = "no-stdin", short = 'n', conflicts_with = "tty")]
    pub(crate) no_stdin: bool,
    /// User of the VM that the command runs as [default: the agent's]
    #[arg(long, short = 'u', value_name = "NAME", default_value = "", hide_default_value = true)]
    pub(crate) user: String,
    /// Directory in the VM to start the command in [default: the agent's]
    #[arg(long, short = 'C', value_name = "PATH")]
    pub(crate) directory: Option<String>,
    /// Environment variable for the command; may be repeated
    #[arg(long = "env", short = 'e', value_name = "NAME=VALUE", value_parser = variable)]
    pub(crate) variables: Vec<(String, String)>,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

/// Arguments of `pilothouse open`.
#[derive(Debug, Args)]
#[command(
    after_help = "The shell is the login shell of its user, sh where there is none. It runs beside the agent, in the
same working tree, and ends with the terminal that it was opened on. A suspended session is resumed.

Examples:
  pilothouse open fix-parser
  pilothouse open fix-parser --user root
  pilothouse open fix-parser -C /var/log"
)]
pub(crate) struct Open {
    /// Session: its slug, its id, or a unique prefix of either
    #[arg(value_name = "SESSION", add = complete::sessions())]
    pub(crate) id: String,
    /// User of the VM whose shell it is [default: the agent's]
    #[arg(long, short = 'u', value_name = "NAME", default_value = "", hide_default_value = true)]
    pub(crate) user: String,
    /// Directory in the VM to start in [default: the agent's]
    #[arg(long, short = 'C', value_name = "PATH")]
    pub(crate) directory: Option<String>,
}

/// Arguments of `pilothouse forward`.
#[derive(Debug, Args)]
#[command(
    after_help = "Programs on this machine connect to the LOCAL port, and reach what listens on PORT in the session,
on its loopback or on all its addresses. It goes on until it is ended by Ctrl-C. A connection resumes
a suspended session, and while one is open the session is not suspended by itself.

Examples:
  pilothouse forward fix-parser 3000              http://127.0.0.1:3000
  pilothouse forward fix-parser 8080:3000 5432    two ports
  pilothouse forward fix-parser :3000             any port that is free here
  pilothouse forward fix-parser --bind 0.0.0.0 3000   for other machines, too"
)]
pub(crate) struct Forward {
    /// Session: its slug, its id, or a unique prefix of either
    #[arg(value_name = "SESSION", add = complete::sessions())]
    pub(crate) id: String,
    /// Ports, at most 64: PORT alone is the same on both ends, :PORT takes one that is free here
    #[arg(value_name = "[LOCAL:]PORT", required = true, num_args = 1..=64)]
    pub(crate) ports: Vec<Ports>,
    /// Address of this machine to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub(crate) bind: IpAddr,
    /// Print a JSON object for each port, on a line of its own, once it is listened on
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `pilothouse send`.
#[derive(Debug, Args)]
#[command(after_help = "A text is submitted as a message of its own: as a paste where the agent's program asked for
bracketed paste, and with Enter once the program has read the text and dealt with it. Without a text, the
message is what is on stdin; where that is a terminal, $VISUAL or $EDITOR is opened to write it in.

Keys are Enter, Esc, Tab, Space, Backspace, Up, Down, Left, Right, Home, End, Insert, Delete,
PageUp, PageDown, F1 to F12 and single characters, with C-, M- and S- for Ctrl, Alt and Shift.

Examples:
  pilothouse send fix-parser Use the second one
  pilothouse send fix-parser -- --yes
  pilothouse send fix-parser <review.md
  pilothouse send fix-parser --key Down --key Enter
  pilothouse send fix-parser --key C-c
  pilothouse send fix-parser --no-enter '/model '")]
pub(crate) struct Send {
    /// Session: its slug, its id, or a unique prefix of either
    #[arg(value_name = "SESSION", add = complete::sessions())]
    pub(crate) id: String,
    /// Text to type; several words are joined by blanks [default: what is on stdin, or an editor's]
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

/// Arguments of `pilothouse answer`.
#[derive(Debug, Args)]
#[command(
    after_help = "The keys are those that the profile of the session's agent names in `answers`. Nothing is pressed
where the program does not ask for that permission any more, or was answered already.

Examples:
  pilothouse answer fix-parser allow
  pilothouse answer fix-parser deny
  asked=$(pilothouse show fix-parser --json | jq -r .permission.id)
  pilothouse answer fix-parser allow --permission \"$asked\"
      only where it is still that one that is asked for"
)]
pub(crate) struct Answer {
    /// Session: its slug, its id, or a unique prefix of either
    #[arg(value_name = "SESSION", add = complete::sessions())]
    pub(crate) id: String,
    /// Whether the permission is given
    #[arg(value_name = "ANSWER")]
    pub(crate) answer: Verdict,
    /// Id of the permission that is meant, as `show --json` has it [default: the one that is asked for now]
    #[arg(long, value_name = "ID")]
    pub(crate) permission: Option<String>,
    /// Print the session as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// An answer to a program that needs a permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Verdict {
    /// It is given, this once
    Allow,
    /// It is refused
    Deny,
}

/// Arguments of `pilothouse events`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pilothouse events fix-parser
  pilothouse events fix-parser --follow
  pilothouse events fix-parser --json | jq -r 'select(.actor.kind == \"person\") | .what'")]
pub(crate) struct Events {
    /// Session: its slug, its id, or a unique prefix of either; of one that is gone, its whole id
    #[arg(value_name = "SESSION", add = complete::sessions())]
    pub(crate) id: String,
    /// Print a JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
    /// Go on with what happens, until the session is deleted
    #[arg(long, short = 'f')]
    pub(crate) follow: bool,
    /// Number of events to begin with, the newest [default: all that are kept, at most 5000]
    #[arg(long, short = 'n', value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: Option<u32>,
}

/// Arguments of `pilothouse log`.
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
    /// Session: its slug, its id, or a unique prefix of either
    #[arg(value_name = "SESSION", add = complete::sessions())]
    pub(crate) id: String,
    /// Print the serial console of the session's VM instead: what the kernel said
    #[arg(long)]
    pub(crate) serial: bool,
    /// Go on with what comes, until the session is deleted
    #[arg(long, short = 'f')]
    pub(crate) follow: bool,
}

/// Arguments of `pilothouse rm`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pilothouse rm fix-parser
  pilothouse ls --json | jq -r '.[] | select(.activity == \"done\") | .id' | xargs pilothouse rm --yes")]
pub(crate) struct Rm {
    /// Sessions: their slugs, ids, or unique prefixes of either
    #[arg(required = true, value_name = "SESSION", add = complete::sessions())]
    pub(crate) ids: Vec<String>,
    /// Delete without asking; needed where stdin is no terminal
    #[arg(long, short = 'y')]
    pub(crate) yes: bool,
    /// Print a JSON array that says of each session whether it is gone, and why not
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `pilothouse wait`.
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
    /// Session: its slug, its id, or a unique prefix of either
    #[arg(value_name = "SESSION", add = complete::sessions())]
    pub(crate) id: String,
    /// States to wait for, divided by commas; one of them is enough
    #[arg(long, required = true, value_delimiter = ',', value_name = "STATE")]
    pub(crate) until: Vec<String>,
    /// Longest wait, such as 30s, 5m or 1h30m [default: without end]
    #[arg(long, value_parser = format::duration, value_name = "DURATION")]
    pub(crate) timeout: Option<Duration>,
    /// Print the session as JSON when it is so
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `pilothouse restart`.
#[derive(Debug, Args)]
#[command(
    after_help = "A suspended session boots from its disk as it was suspended, and what is in its memory is given up:
that is for one that cannot be resumed, or whose agent has ended.

With --from it goes back to a checkpoint instead, memory and disk, and runs on from there: what it did
since is lost, also what it wrote to its disk. `pilothouse fork --from` keeps both.

Examples:
  pilothouse restart fix-parser
  pilothouse restart fix-parser --yes
  pilothouse restart fix-parser --from last"
)]
pub(crate) struct Restart {
    /// Session: its slug, its id, or a unique prefix of either
    #[arg(value_name = "SESSION", add = complete::sessions())]
    pub(crate) id: String,
    /// Checkpoint to go back to: its number, or last
    #[arg(long, value_name = "CHECKPOINT")]
    pub(crate) from: Option<Which>,
    /// Do not ask before something is given up; needed where stdin is no terminal
    #[arg(long, short = 'y')]
    pub(crate) yes: bool,
    /// Print the session as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `pilothouse suspend`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pilothouse suspend fix-parser
  pilothouse suspend fix-parser --json | jq .suspended_bytes")]
pub(crate) struct Suspend {
    /// Session: its slug, its id, or a unique prefix of either
    #[arg(value_name = "SESSION", add = complete::sessions())]
    pub(crate) id: String,
    /// Print the session as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `pilothouse resume`.
#[derive(Debug, Args)]
#[command(after_help = "exec, send and attach resume a session by themselves.

Example:
  pilothouse resume fix-parser")]
pub(crate) struct Resume {
    /// Session: its slug, its id, or a unique prefix of either
    #[arg(value_name = "SESSION", add = complete::sessions())]
    pub(crate) id: String,
    /// Print the session as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `pilothouse fork`.
#[derive(Debug, Args)]
#[command(after_help = "The fork has the same memory, processes and files, and its own name, identity and branches. A
running session stands still for a moment and goes on; a suspended one stays suspended. Programs
that run already keep the environment variables that they were started with: inside, `session show`
says which session it is now.

Examples:
  pilothouse fork fix-parser
  pilothouse fork fix-parser --from 3
  id=$(pilothouse fork fix-parser --title 'the other way') && pilothouse send \"$id\" Try it without regexes")]
pub(crate) struct Fork {
    /// Session: its slug, its id, or a unique prefix of either
    #[arg(value_name = "SESSION", add = complete::sessions())]
    pub(crate) id: String,
    /// Title of the fork, for people [default: "fork of ..." the session's]
    #[arg(long, short = 't')]
    pub(crate) title: Option<String>,
    /// Checkpoint of the session to make the fork from, instead of the session as it is now: its number, or last
    #[arg(long, value_name = "CHECKPOINT")]
    pub(crate) from: Option<Which>,
    /// Amount in US dollars that models may cost the fork, or none; it begins with nothing spent [default: the session's]
    #[arg(long, value_name = "AMOUNT", value_parser = amount)]
    pub(crate) budget: Option<u64>,
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
