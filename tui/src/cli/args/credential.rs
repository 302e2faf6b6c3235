//! Arguments of the commands on credentials.

use clap::Subcommand;

/// Commands of `pilothouse credential`.
#[derive(Debug, Subcommand)]
pub(crate) enum CredentialCommand {
    /// List a host's credentials: for which hosts they are, where their secrets are kept, and who may use them
    #[command(after_help = "Example:\n  pilothouse credential ls")]
    Ls {
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Read a credential's secret and ask its hosts with it; without a name, those of all credentials
    #[command(
        after_help = "Examples:\n  pilothouse credential check anthropic\n  pilothouse credential check --json | jq '.[].answers'"
    )]
    Check {
        /// Name of the credential
        #[arg(value_name = "NAME")]
        name: Option<String>,
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
}
