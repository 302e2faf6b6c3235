//! Which session this is, for programs in it: `/run/pilothouse/session.json`, written anew with each new identity.
//!
//! A program keeps the environment that it was started with. After a fork, the memory of the fork has the same programs, and
//! their variables still name the original; this file is right at any time.

use std::{collections::HashMap, fs, io, path::Path};

use pilothouse_proto::guest::v1::HandshakeRequest;
use serde::{Deserialize, Serialize};

/// Path of the file, beside the socket of the `session` command.
pub const PATH: &str = "/run/pilothouse/session.json";

/// Content of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityFile {
    /// Id of the session: a ULID.
    pub id: String,
    /// Slug of the session, which is the guest's hostname too.
    pub slug: String,
    /// Branch that the session is to work on; it may push to all that begin with `agent/SLUG/`.
    pub branch: String,
    /// Number of the VM's life: one higher after each start, resume or fork.
    pub generation: u64,
}

impl IdentityFile {
    /// The content that says this identity, which the host gave.
    #[must_use]
    pub fn of(identity: &HandshakeRequest) -> Self {
        Self {
            id: identity.session_id.clone(),
            slug: identity.slug.clone(),
            branch: format!("agent/{}/work", identity.slug),
            generation: identity.generation,
        }
    }

    /// Text of the file: one line of JSON.
    #[must_use]
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }

    /// Reads the file.
    ///
    /// # Errors
    /// Where it is not there, or is not what was written.
    pub fn read(path: &Path) -> io::Result<Self> {
        Ok(serde_json::from_str(&fs::read_to_string(path)?)?)
    }

    /// Replaces the session's names in the variables that a program was started with.
    pub fn rename(&self, environment: &mut HashMap<String, String>) {
        for (name, value) in [("SESSION", &self.id), ("SLUG", &self.slug), ("BRANCH", &self.branch)] {
            if let Some(known) = environment.get_mut(&format!("PILOTHOUSE_{name}")) {
                known.clone_from(value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_as_written_and_renames_what_is_named() {
        let identity = HandshakeRequest {
            session_id: "01J".into(),
            slug: "fork-of-fix".into(),
            generation: 3,
            ..HandshakeRequest::default()
        };
        let file = IdentityFile::of(&identity);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("session.json");
        assert!(IdentityFile::read(&path).is_err());
        fs::write(&path, file.text()).unwrap();
        assert_eq!(IdentityFile::read(&path).unwrap(), file);
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut environment =
            HashMap::from([variable("PILOTHOUSE_BRANCH", "agent/fix/work"), variable("PATH", "/bin")]);
        file.rename(&mut environment);
        assert_eq!(environment["PILOTHOUSE_BRANCH"], "agent/fork-of-fix/work");
        assert_eq!(environment.len(), 2);
    }
}
