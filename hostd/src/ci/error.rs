use crate::forge::ForgeError;

/// Why a check is not run again. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum RerunError {
    /// No environment here has this check.
    #[error("`{name}` is not run here ({}); whoever reports it runs it again", run_here(.known))]
    NotOurs {
        /// Asked for.
        name: String,
        /// Those that are run here, of this repository.
        known: Vec<String>,
    },
    /// None was named, and none is bad.
    #[error("no check of this commit is over and bad; name the one that is to be run again")]
    NothingBad,
    /// Its repository or commit.
    #[error(transparent)]
    Forge(#[from] ForgeError),
}

fn run_here(names: &[String]) -> String {
    match names {
        [] => "no environment that is built has checks for this repository".into(),
        names => format!("run here: {}", names.join(", ")),
    }
}
