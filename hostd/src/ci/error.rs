use crate::forge::ForgeError;

/// Why a check is not run again. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum RerunError {
    /// No environment of this host has a check of this name for the repository.
    #[error("`{name}` is not run here ({}); whoever reports it runs it again", run_here(.known))]
    NotOurs {
        /// Name that was asked for.
        name: String,
        /// Names of the checks that are run here for this repository.
        known: Vec<String>,
    },
    /// No check was named, and none has ended badly.
    #[error("no check of this commit is over and bad; name the one that is to be run again")]
    NothingBad,
    /// The forge does not have the repository or the commit, or cannot be read.
    #[error(transparent)]
    Forge(#[from] ForgeError),
}

fn run_here(names: &[String]) -> String {
    match names {
        [] => "no environment that is built has checks for this repository".into(),
        names => format!("run here: {}", names.join(", ")),
    }
}
