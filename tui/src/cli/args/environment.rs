//! Arguments of the commands on environments.

use clap::Subcommand;

use crate::cli::complete;

/// Commands of `pilothouse env`.
#[derive(Debug, Subcommand)]
pub(crate) enum EnvCommand {
    /// List the environments
    #[command(after_help = "Example:\n  pilothouse env ls")]
    Ls {
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Build an environment, so that sessions can start in it
    #[command(
        after_help = "A FILE is anything that ends in .toml or has a / in it. A build whose inputs were built before
ends at once. Ctrl-C stops the watching, not the build.

Examples:
  pilothouse env build demo
  pilothouse env build ./python.toml"
    )]
    Build {
        /// Name of a known environment, or a recipe's file, which is registered first
        #[arg(value_name = "NAME|FILE", add = complete::environments())]
        environment: String,
        /// Print the environment as JSON when it is built
        #[arg(long)]
        json: bool,
    },
    /// Show an environment and its recipe
    #[command(after_help = "Examples:\n  pilothouse env show demo\n  pilothouse env show demo --json | jq -r .recipe")]
    Show {
        /// Name of the environment; `pilothouse env ls` lists them
        #[arg(value_name = "NAME", add = complete::environments())]
        name: String,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
}
