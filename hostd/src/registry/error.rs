use std::{io, path::PathBuf};

/// Why an image cannot be had. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistryError {
    /// The registry has no such image, or does not tell.
    #[error("{image} is not there: {host} answers {status}; check its name and tag{}", hint(*.hinted))]
    NotFound { image: String, host: String, status: u16, hinted: bool },
    /// The registry wants to know who asks, or does not let them.
    #[error("{host} does not give {image} ({why}); {help}")]
    Denied { image: String, host: String, why: String, help: String },
    /// The registry is asked too often.
    #[error(
        "{host} is asked too often ({status}); wait, or name a `credential` in the recipe's base that may ask more often"
    )]
    TooOften { host: String, status: u16 },
    /// The registry does not answer as it should.
    #[error("{host}: {why}")]
    Unreachable { host: String, why: String },
    /// What the registry gave is not what was asked for.
    #[error(
        "{host} gave something else than {digest}, again and again; its copy of the image is damaged, or somebody changes it on the way"
    )]
    Damaged { host: String, digest: String },
    /// The image is none that is of use here.
    #[error("{image} cannot be used: {why}")]
    Unusable { image: String, why: String },
    /// The credential that the base names cannot be used.
    #[error("base.credential names `{name}`, and {why}")]
    Credential { name: String, why: String },
    /// A file of the data folder cannot be read or written.
    #[error("{path}: {error}")]
    File { path: PathBuf, error: io::Error },
}

fn hint(hinted: bool) -> &'static str {
    if hinted { ", or name a `credential` in the recipe's base if it is private" } else { "" }
}

impl RegistryError {
    /// Converts an IO error on this path.
    pub(super) fn at(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        |error| Self::File { path, error }
    }
}
