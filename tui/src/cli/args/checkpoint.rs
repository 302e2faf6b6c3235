//! Arguments of `checkpoint`, and how a checkpoint is named.

use std::str::FromStr;

use clap::{Args, Subcommand};

use crate::cli::complete;

/// Arguments of `pilothouse checkpoint`.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "The session stands still for a moment and runs on. The last 3 that people asked for are kept, and the last
of the schedule in its environment's recipe (`checkpoint = \"10m\"`). A session goes back to one by
`restart --from`, and a fork is made from one by `fork --from`.

Examples:
  pilothouse checkpoint fix-parser
  pilothouse checkpoint ls fix-parser
  pilothouse restart fix-parser --from last"
)]
pub(crate) struct Checkpoint {
    /// Session: its slug, its id, or a unique prefix of either
    #[arg(value_name = "SESSION", required = true, add = complete::sessions())]
    pub(crate) id: Option<String>,
    /// Print the checkpoint as JSON instead of its number
    #[arg(long)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Option<CheckpointCommand>,
}

/// Commands of `pilothouse checkpoint`.
#[derive(Debug, Subcommand)]
pub(crate) enum CheckpointCommand {
    /// List a session's checkpoints, the newest first
    #[command(after_help = "Examples:
  pilothouse checkpoint ls fix-parser
  pilothouse checkpoint ls fix-parser --json | jq '.[0].number'")]
    Ls {
        /// Session: its slug, its id, or a unique prefix of either
        #[arg(value_name = "SESSION", add = complete::sessions())]
        id: String,
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
}

/// Which checkpoint of a session is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// The one of this number.
    Number(u64),
    /// The newest one.
    Last,
}

impl FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            _ if text == "last" => Ok(Self::Last),
            Ok(number @ 1..) if !text.starts_with('+') => Ok(Self::Number(number)),
            _ => Err("write the number of a checkpoint, as `pilothouse checkpoint ls` has it, or last".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("last", Some(Which::Last))]
    #[case("3", Some(Which::Number(3)))]
    #[case("0", None)]
    #[case("+3", None)]
    #[case("first", None)]
    #[case("", None)]
    fn names(#[case] text: &str, #[case] expected: Option<Which>) {
        assert_eq!(text.parse().ok(), expected);
    }
}
