//! The credentials of this host: `credentials.toml` in the data folder, read again when it changes, and their secrets, which are
//! read when a request wants one.
//!
//! The file says which requests get which secret ([`hostd_core::credentials`]); a file that is bad changes nothing: it is said
//! why, and what was read last stays in force. A file that is gone means that there are no credentials any more.

mod file;
mod secret;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hostd_core::credentials::Credential;
pub use secret::{Secret, SecretError};

use file::Stamp;
use secret::Printed;

/// Name of the file in the data folder.
pub const FILE: &str = "credentials.toml";
/// Variable by which systemd tells a service where its credentials are.
const SYSTEMD: &str = "CREDENTIALS_DIRECTORY";

/// The credentials of this host.
#[derive(Debug)]
pub struct Credentials {
    path: PathBuf,
    /// Folder of what systemd hands over; None: hostd is no service, or was handed nothing.
    systemd: Option<PathBuf>,
    state: Mutex<State>,
    /// What commands printed last, by name of the credential.
    printed: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Option<Printed>>>>>,
}

#[derive(Debug, Default)]
struct State {
    /// What the file was like when it was last looked at; None: it was not there.
    seen: Option<Stamp>,
    all: Vec<Arc<Credential>>,
    /// Why the file, as it is now, is not in force.
    problem: Option<String>,
}

impl Credentials {
    /// The credentials of this data folder.
    #[must_use]
    pub fn of(data: &Path) -> Self {
        Self {
            path: data.join(FILE),
            systemd: std::env::var_os(SYSTEMD).map(PathBuf::from),
            state: Mutex::default(),
            printed: Mutex::default(),
        }
    }

    /// Path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All credentials that are in force. Reads the file where it has changed.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Credential>> {
        self.look().all.clone()
    }

    /// Why the file, as it is now, is not in force; None: it is, or is not there.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.look().problem.clone()
    }

    /// Of these names, those that guests of this environment may use, in the file's order.
    #[must_use]
    pub fn named(&self, names: &[String], environment: &str) -> Vec<Arc<Credential>> {
        if names.is_empty() {
            return vec![];
        }
        let may = |one: &&Arc<Credential>| names.contains(&one.name) && one.allows(environment);
        self.look().all.iter().filter(may).cloned().collect()
    }

    /// Reads the secret of a credential.
    ///
    /// # Errors
    /// Why it cannot be read, with what to do; without any of it.
    pub async fn secret(&self, credential: &Credential) -> Result<Secret, SecretError> {
        let printed = self.printed().entry(credential.name.clone()).or_default().clone();
        let secret = secret::read(credential, self.systemd.as_deref(), &printed).await?;
        match credential.variables.iter().find(|(_, value)| secret.is_in(value)) {
            Some((variable, _)) => Err(SecretError::InVariable { variable: variable.clone() }),
            None => Ok(secret),
        }
    }

    /// Forgets what a command has printed: it was refused by the host that it is for.
    pub async fn refused(&self, credential: &Credential) {
        let printed = self.printed().get(&credential.name).cloned();
        if let Some(printed) = printed {
            *printed.lock().await = None;
        }
    }

    fn look(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = Stamp::of(&self.path);
        if stamp == state.seen {
            return state;
        }
        state.seen = stamp;
        if stamp.is_none() {
            tracing::info!(path = %self.path.display(), "there are no credentials any more");
            *state = State::default();
            return state;
        }
        match file::read(&self.path) {
            Ok(all) => {
                tracing::info!(path = %self.path.display(), number = all.len(), "credentials are in force");
                (state.all, state.problem) = (all.into_iter().map(Arc::new).collect(), None);
            }
            Err(why) => {
                tracing::error!("credentials stay as they were: {why}");
                state.problem = Some(why);
            }
        }
        state
    }

    fn printed(&self) -> MutexGuard<'_, HashMap<String, Arc<tokio::sync::Mutex<Option<Printed>>>>> {
        self.printed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
