//! Arguments of `usage`.

use clap::{Args, ValueEnum};

/// Arguments of `pilothouse usage`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pilothouse usage
  pilothouse usage --by person
  pilothouse usage --by day --json | jq '.[0].cost_usd'")]
pub(crate) struct Usage {
    /// What to add up by
    #[arg(long, value_enum, default_value_t = By::Session)]
    pub(crate) by: By,
    /// Print a JSON array
    #[arg(long)]
    pub(crate) json: bool,
}

/// By what usage adds up.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum By {
    /// Sessions, also those that are gone; builds and runs of checks that asked a model
    Session,
    /// Environments
    Environment,
    /// Whoever dispatched the sessions
    Person,
    /// Days, in UTC
    Day,
    /// Models
    Model,
}

impl By {
    /// The word of the API.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Environment => "environment",
            Self::Person => "person",
            Self::Day => "day",
            Self::Model => "model",
        }
    }

    /// Head of the column.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Session => "SESSION",
            Self::Environment => "ENVIRONMENT",
            Self::Person => "PERSON",
            Self::Day => "DAY",
            Self::Model => "MODEL",
        }
    }
}
