//! Arguments of the commands on agent profiles.

use clap::{Args, Subcommand};

use crate::cli::complete;

/// Commands of `pilothouse agent`.
#[derive(Debug, Subcommand)]
pub(crate) enum AgentCommand {
    /// List the profiles: the shipped ones, and over them the host's own
    #[command(
        after_help = "A profile of a host's own is the file agents/NAME.toml of hostd's data folder.\n\nExample:\n  pilothouse agent ls"
    )]
    Ls {
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show what a profile installs, starts and allows
    #[command(
        after_help = "Examples:\n  pilothouse agent show codex\n  pilothouse agent show codex --json | jq -r .npm[]"
    )]
    Show {
        /// Name of the profile; `pilothouse agent ls` lists them
        #[arg(value_name = "PROFILE", add = complete::profiles())]
        name: String,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Boot an agent in a VM of its own, and say whether it starts, is logged in and gets an answer of its model
    #[command(
        after_help = "It builds the environment try-PROFILE, which stays so that the next time nothing need be built,
starts a session in it, asks the agent to write two words as one, and deletes the session, also where
it fails or is interrupted. The exit code is 1 where the agent does not start or no answer comes.

Examples:
  pilothouse agent try codex
  pilothouse agent try codex --env widgets
  pilothouse agent try codex --json | jq .answered"
    )]
    Try(Try),
}

/// Arguments of `agent try`.
#[derive(Debug, Args)]
pub(crate) struct Try {
    /// Name of the profile; `pilothouse agent ls` lists them
    #[arg(value_name = "PROFILE", add = complete::profiles())]
    pub(crate) name: String,
    /// Debian that it is tried on
    #[arg(long, value_name = "SUITE", default_value = "bookworm")]
    pub(crate) debian: String,
    /// Environment of yours that it is tried in, with its model and its ways out, in the place of try-PROFILE
    #[arg(long, value_name = "ENVIRONMENT", conflicts_with = "debian", add = complete::environments())]
    pub(crate) env: Option<String>,
    /// Print a JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
