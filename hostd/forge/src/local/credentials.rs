//! Passwords and tokens for other repositories: git asks for them, and reads them from files that nobody but hostd's own user may
//! read. None is in an argument, in a variable or in git's words.

use std::{
    io::{ErrorKind, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use tokio::process::Command;

use crate::ForgeError;

/// Name of the file in the data folder where a person puts them: lines of `https://USER:TOKEN@HOST`, as `git credential-store`
/// has them.
pub(super) const NAME: &str = "git-credentials";
/// The file for what is in a URL, and the variables that name both to git.
const OF_URL: (&str, &str) = ("url-credentials", "PILOTHOUSE_URL_CREDENTIALS");
const OF_PERSON: &str = "PILOTHOUSE_CREDENTIALS";

/// What git needs to speak to another repository.
#[derive(Debug)]
pub(super) struct Credentials {
    /// The URL without what is secret in it.
    pub(super) url: String,
    files: Vec<(&'static str, PathBuf)>,
}

impl Credentials {
    /// For this URL; `file` is the person's, and `folder` one that is removed afterwards.
    pub(super) fn new(url: &str, file: &Path, folder: &Path) -> Result<Self, ForgeError> {
        let mut files = vec![];
        let (url, secret) = without_secret(url);
        if let Some(line) = secret {
            let (name, variable) = OF_URL;
            let path = folder.join(name);
            let written = std::fs::File::options().create_new(true).write(true).mode(0o600).open(&path);
            let written = written.and_then(|mut file| writeln!(file, "{line}"));
            written.map_err(|error| ForgeError::File { path: path.clone(), error })?;
            files.push((variable, path));
        }
        if is_private(file)? {
            files.push((OF_PERSON, file.to_owned()));
        }
        Ok(Self { url, files })
    }

    /// The part of git's configuration that has it ask there. It is not to write there what it was told, nor to remove what was
    /// refused once.
    pub(super) fn settings(&self) -> String {
        let ask = |(variable, _): &(&str, PathBuf)| {
            format!(
                "\thelper = \"!f() {{ test \\\"$1\\\" != get || git credential-store --file=\\\"${variable}\\\" get; }}; f\"\n"
            )
        };
        let asks: String = self.files.iter().map(ask).collect();
        format!("[credential]\n{asks}")
    }

    pub(super) fn name_to(&self, command: &mut Command) {
        command.envs(self.files.iter().map(|(variable, path)| (variable, path)));
    }
}

/// What to do, where git's words say that it was asked who it is.
pub(super) fn advice(words: &str, file: &Path) -> String {
    let asked =
        ["could not read Username", "could not read Password", "Authentication failed", "HTTP 403", "error: 403"];
    if !asked.iter().any(|said| words.contains(said)) {
        return String::new();
    }
    format!(
        "\nput a line `https://USER:TOKEN@HOST` into {} on the host, which hostd's user alone may read (chmod 600), and try again",
        file.display()
    )
}

/// False: there is no such file.
fn is_private(file: &Path) -> Result<bool, ForgeError> {
    let found = match std::fs::metadata(file) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(ForgeError::File { path: file.into(), error }),
    };
    if found.mode() & 0o077 == 0 {
        return Ok(true);
    }
    let why = format!("others may read {}, which has passwords in it; chmod 600 it, then try again", file.display());
    Err(ForgeError::Invalid(why))
}

/// The URL without its user and password, and the same as a line for git; of http alone, where git would show them to others.
fn without_secret(url: &str) -> (String, Option<String>) {
    let parts =
        url.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https")).and_then(|(scheme, rest)| {
            let host = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
            let (user, host) = host.rsplit_once('@')?;
            Some((scheme, user, host, &rest[user.len() + 1..]))
        });
    let Some((scheme, user, host, rest)) = parts else { return (url.into(), None) };
    // A user alone may be a token, which has no password.
    let colon = if user.contains(':') { "" } else { ":" };
    (format!("{scheme}://{rest}"), Some(format!("{scheme}://{user}{colon}@{host}")))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("https://example.com/a@b.git", "https://example.com/a@b.git", None)]
    #[case("https://token@example.com/a.git", "https://example.com/a.git", Some("https://token:@example.com"))]
    #[case("http://ann:p%40w@example.com:8080", "http://example.com:8080", Some("http://ann:p%40w@example.com:8080"))]
    #[case("ssh://git@example.com/a.git", "ssh://git@example.com/a.git", None)]
    #[case("git@example.com:a.git", "git@example.com:a.git", None)]
    #[case("/srv/a@b", "/srv/a@b", None)]
    fn secrets_leave_urls(#[case] url: &str, #[case] bare: &str, #[case] line: Option<&str>) {
        assert_eq!(without_secret(url), (bare.into(), line.map(Into::into)));
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(NAME);
        let url = "https://example.com/a.git";
        assert!(Credentials::new(url, &file, folder.path()).unwrap().files.is_empty());
        fs::write(&file, "https://ann:secret@example.com\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let error = Credentials::new(url, &file, folder.path()).unwrap_err().to_string();
        assert!(error.contains("chmod 600 it") && !error.contains("secret"), "{error}");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(Credentials::new(url, &file, folder.path()).unwrap().files.len(), 1);
    }
}
