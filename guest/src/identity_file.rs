//! Which session this is, for programs in it: `/run/pilothouse/session.json`, written anew with each new identity.
//!
//! A program keeps the environment that it was started with. After a fork, the memory of the fork has the same programs, and
//! their variables still name the original; this file is right at any time.

use std::{collections::HashMap, fs, io, path::Path};

use pilothouse_proto::guest::v1::HandshakeRequest;
use serde::{Deserialize, Serialize};

/// Path of the file, beside the socket of the `session` command.
pub const PATH: &str = "/run/pilothouse/session.json";

/// Path of a file of git's configuration, which that of the environment's repository includes.
pub const PUSH_PATH: &str = "/run/pilothouse/gitconfig";

/// Text of that file: a plain `git push origin BRANCH` of a session of this slug goes to the session's branch of that name, as whatever else
/// it pushes is refused. A `git push` that names no branch pushes all: git has no refspec that names the present branch and maps it.
#[must_use]
pub fn push_text(slug: &str) -> String {
    format!("[remote \"origin\"]\n\tpush = refs/heads/*:refs/heads/agent/{slug}/*\n")
}

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
    fn a_plain_push_of_git_goes_to_the_branch_of_the_session() {
        let folder = tempfile::tempdir().unwrap();
        let git = |arguments: &[&str]| {
            let mut git = std::process::Command::new("git");
            git.current_dir(folder.path()).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
            let output = git.args(["-c", "user.name=a", "-c", "user.email=a@b"]).args(arguments).output().unwrap();
            assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        let config = folder.path().join("config");
        fs::write(&config, push_text("fix-parser-3f")).unwrap();
        git(&["init", "-q", "--bare", "forge"]);
        git(&["init", "-q", "-b", "main", "tree"]);
        git(&["-C", "tree", "remote", "add", "origin", "../forge"]);
        git(&["-C", "tree", "config", "include.path", config.to_str().unwrap()]);
        git(&["-C", "tree", "commit", "-q", "--allow-empty", "-m", "x"]);
        let branches = || git(&["-C", "forge", "for-each-ref", "--format=%(refname)"]);
        git(&["-C", "tree", "push", "-q"]);
        assert_eq!(branches(), "refs/heads/agent/fix-parser-3f/main\n");
        git(&["-C", "tree", "checkout", "-q", "-b", "leap/seconds"]);
        git(&["-C", "tree", "push", "-q", "-u", "origin", "leap/seconds"]);
        assert_eq!(branches().lines().next(), Some("refs/heads/agent/fix-parser-3f/leap/seconds"));
        // Who names no branch means all of them.
        git(&["-C", "tree", "branch", "other"]);
        git(&["-C", "tree", "push", "-q"]);
        assert_eq!(branches().lines().last(), Some("refs/heads/agent/fix-parser-3f/other"));
        git(&["-C", "tree", "branch", "-q", "-D", "other"]);
        git(&["-C", "tree", "push", "-q", "origin", ":refs/heads/agent/fix-parser-3f/other"]);
        // Who says where is asked no more, and later pushes go where the first went.
        git(&["-C", "tree", "push", "-q", "origin", "HEAD:refs/heads/agent/fix-parser-3f/work"]);
        git(&["-C", "tree", "commit", "-q", "--allow-empty", "-m", "y"]);
        git(&["-C", "tree", "push", "-q"]);
        assert_eq!(branches().lines().count(), 3);
    }

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
