//! Arguments of the commands on hosts.

use clap::Subcommand;

/// Commands of `pilothouse host`.
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
        /// Name of the host; not needed where there is one
        #[arg(value_name = "NAME")]
        name: Option<String>,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Say whether hosts are reached, and how fast they answer
    #[command(after_help = "Examples:
  pilothouse host test
  pilothouse host test far
  pilothouse host test ssh://me@far

Exit code: 0 all are reached, 5 one is not.")]
    Test {
        /// Name or address of a host, may be repeated [default: those that commands ask]
        #[arg(value_name = "NAME|ADDRESS")]
        hosts: Vec<String>,
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Add a host to config.toml, once it is reached
    #[command(after_help = "Examples:
  pilothouse host add far ssh://far
  pilothouse host add lab ssh://me@lab:2222/run/pilothouse/hostd.sock --hostd /opt/pilothouse/hostd
  pilothouse host add near unix:/home/me/.local/share/pilothouse/hostd.sock

Over ssh, `ssh HOST` must log in without a question: keys from an agent, jump hosts and names are those of ~/.ssh/config.")]
    Add {
        /// Name of the host: letters, digits, dashes, dots and underscores
        #[arg(value_name = "NAME")]
        name: String,
        /// Way to the host's hostd.
        #[arg(
            value_name = "ADDRESS",
            help = "Way to its hostd: unix:PATH, or ssh://[USER@]HOST[:PORT][/PATH of the socket there]"
        )]
        address: String,
        /// Path of the program hostd there, where it is not in the PATH of commands over ssh
        #[arg(long, value_name = "PATH")]
        hostd: Option<String>,
        /// Add it also where it is not reached now
        #[arg(long)]
        unreached: bool,
    },
    /// Suspend all that runs on a host, and have it take no more until undrain; what was at work comes back by itself then
    #[command(
        after_help = "Sessions wait on disk, also over a restart of hostd and of the machine. `new`, `fork`, `resume` and `restart` are
refused meanwhile, with the reason; what comes for a session stays there for it. New CI checks and builds
wait; those that run go on to their end, and are not counted.

Examples:
  pilothouse host drain
  pilothouse host drain lab --yes"
    )]
    Drain {
        /// Name of the host; not needed where there is one
        #[arg(value_name = "NAME")]
        name: Option<String>,
        /// Do not ask; needed where stdin is no terminal
        #[arg(long, short = 'y')]
        yes: bool,
        /// Print a JSON object with the sessions that still run
        #[arg(long)]
        json: bool,
    },
    /// Have a drained host take VMs again
    #[command(after_help = "Example:\n  pilothouse host undrain lab")]
    Undrain {
        /// Name of the host; not needed where there is one
        #[arg(value_name = "NAME")]
        name: Option<String>,
    },
    /// Take a host out of config.toml; what runs on it goes on
    #[command(after_help = "Example:\n  pilothouse host rm far")]
    Rm {
        /// Name of the host
        #[arg(value_name = "NAME")]
        name: String,
    },
}
