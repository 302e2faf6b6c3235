//! What a base branch's `.gitattributes` say of its files, for git in a bare repository, which reads none by itself.

use std::{ffi::OsString, io::Write as _};

use hostd_core::attributes::{flattened, has_attr_source};
use tempfile::NamedTempFile;

use crate::{ForgeError, git::Repository};

/// Where git takes attributes from. A file of them is there until this is dropped.
#[derive(Debug)]
pub(super) enum Attributes {
    /// git reads them from this commit.
    Commit(String),
    /// git reads them from this file, which has all of them: git before 2.41.
    File(NamedTempFile),
}

impl Attributes {
    /// The attributes of a commit, for the git that is installed.
    pub(super) async fn of(repository: &Repository, commit: &str) -> Result<Self, ForgeError> {
        if has_attr_source(&repository.run(["version"]).await?.line()) {
            Ok(Self::Commit(commit.to_owned()))
        } else {
            Self::in_a_file(repository, commit).await
        }
    }

    /// The attributes of a commit in a file, as any git takes them.
    pub(super) async fn in_a_file(repository: &Repository, commit: &str) -> Result<Self, ForgeError> {
        let args = ["grep", "-z", "-a", "--no-color", "-e", "", commit, "--", ":(glob)**/.gitattributes"];
        let ran = repository.run(args).await?;
        // 1: there are none.
        if !matches!(ran.code, 0 | 1) {
            return Err(ran.failed("reading .gitattributes"));
        }
        let mut file = NamedTempFile::new().map_err(ForgeError::Git)?;
        let written = file.write_all(&flattened(&ran.stdout, commit));
        written.map_err(|error| ForgeError::File { path: file.path().into(), error })?;
        Ok(Self::File(file))
    }

    /// Arguments for git that stand before its command.
    pub(super) fn arguments(&self) -> Vec<OsString> {
        match self {
            Self::Commit(commit) => vec![format!("--attr-source={commit}").into()],
            Self::File(file) => {
                let mut setting = OsString::from("core.attributesFile=");
                setting.push(file.path());
                vec!["-c".into(), setting]
            }
        }
    }
}
