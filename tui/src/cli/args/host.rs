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
}
