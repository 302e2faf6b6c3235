use std::{path::PathBuf, sync::Arc};

use hostd_core::recipe::Egress;

use super::Authority;

/// A guest that uses the gateway, and what it may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Id of the session, of the build, or of the run of a check.
    pub session_id: String,
    /// Slug of the session, for messages.
    pub slug: String,
    /// Name of the guest's environment, for messages.
    pub environment: String,
    /// Name of the repository of the local forge that the guest may read, e.g. `widgets`; None: none.
    pub repository: Option<String>,
    /// Prefix of the branches below `refs/heads/` of that repository that the guest may push to, e.g. `agent/fix-parser-3f/`.
    /// None: it may not push.
    pub branch_prefix: Option<String>,
    /// Branch that a push of the guest opens a pull request into, empty for the repository's default; None: a push opens none.
    pub opens_pulls: Option<String>,
    /// Names of repositories of the local forge that the guest may read beside its own.
    pub also_read: Vec<String>,
    /// Destinations that the guest may reach, as its recipe has them.
    pub egress: Vec<Egress>,
    /// Destinations that the guest may reach beside those.
    pub beside: Beside,
    /// Credentials of the host that the guest's requests are given.
    pub access: Access,
}

/// What a guest may reach beside what its recipe lists. The gateway finds it out for each request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// Destinations that people have allowed the session.
    pub(super) people: Vec<Egress>,
    /// Destinations that a credential of the host leads to.
    pub(super) credentials: Vec<Egress>,
}

/// Which credentials a guest's requests are given, and by which authority TLS is ended for that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Names of the credentials.
    pub credentials: Vec<String>,
    /// Authority that the guest trusts; None: none, and then no credential is used over TLS.
    pub authority: Option<Arc<Authority>>,
    /// User name of the person on whose behalf it is used; empty: it is nobody's.
    pub person: String,
}

impl Access {
    /// Access to these credentials. The authority is the one that is kept in this file, which is made where it is not there; None:
    /// a new one that nobody keeps. Without names there is none.
    pub async fn to(credentials: &[String], kept: Option<PathBuf>) -> Self {
        if credentials.is_empty() {
            return Self::default();
        }
        let made = tokio::task::spawn_blocking(move || match kept {
            Some(path) => Authority::kept(&path),
            None => Authority::new(),
        });
        let authority = match made.await.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(authority) => Some(Arc::new(authority)),
            Err(error) => {
                tracing::error!(%error, "a guest goes without credentials");
                None
            }
        };
        Self { credentials: credentials.to_vec(), authority, person: String::new() }
    }

    /// The same on behalf of a person.
    #[must_use]
    pub fn of(self, person: &str) -> Self {
        Self { person: person.into(), ..self }
    }
}

impl Caller {
    /// All destinations that the guest may reach.
    pub(super) fn reach(&self) -> impl Iterator<Item = &Egress> {
        let Beside { people, credentials } = &self.beside;
        self.egress.iter().chain(people).chain(credentials)
    }

    /// One that may reach nothing.
    pub(crate) fn nowhere(id: &str, slug: &str, environment: &str) -> Self {
        Self {
            session_id: id.into(),
            slug: slug.into(),
            environment: environment.into(),
            repository: None,
            branch_prefix: None,
            opens_pulls: None,
            also_read: vec![],
            egress: vec![],
            beside: Beside::default(),
            access: Access::default(),
        }
    }
}
