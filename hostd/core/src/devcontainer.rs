//! devcontainer.json: what a repository says of the container that it is worked on in, as far as a VM can have it.
//!
//! ```text
//! devcontainer.json ──▶ File ──┬─ image, or Dockerfile ──▶ the base's image
//!                              ├─ features: Feature, in their order
//! label of the image ──────────┴──▶ Plan ──▶ Work: steps of the build, variables, user, ports, what is not honoured
//! ```
//! All of it is written by others, and parsed without a word run: bounded, with errors that say where. What a VM cannot have, or
//! what would reach the host, is not honoured, and listed.

mod command;
mod dockerfile;
mod feature;
mod file;
mod json;
mod metadata;
mod order;
mod plan;
#[cfg(test)]
mod tests;
mod variables;

pub use command::Command;
pub use dockerfile::Dockerfile;
pub use feature::{Asked, Feature, Place};
pub use file::{File, Source};
pub use metadata::Metadata;
pub use order::in_order;
pub use plan::{Plan, Step, Task, Work};
pub use variables::Variables;

/// Places where a repository has its devcontainer.json where its recipe names none, the first that is there.
pub const PLACES: [&str; 2] = [".devcontainer/devcontainer.json", ".devcontainer.json"];
/// Longest file that is read of a repository or a feature, in bytes.
pub const TEXT_MAX: usize = 256 << 10;
/// Most features of an environment, with those that they depend on.
pub const FEATURES_MAX: usize = 64;
/// Longest path of a repository, in bytes.
const PATH_MAX: usize = 4096;
/// Name of the file that says what a feature is.
pub const FEATURE_FILE: &str = "devcontainer-feature.json";

/// Joins a path of a repository to a folder of it; None: it would lead out, is longer than 4096 bytes, or has
/// control characters, such as line breaks.
#[must_use]
pub fn join(folder: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if path.starts_with('/') || path.len() > PATH_MAX || path.contains(char::is_control) {
        return None;
    }
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/")).filter(|joined| joined.len() <= PATH_MAX)
}

/// The folder that a path of a repository is in; empty: the repository's own.
#[must_use]
pub fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}
