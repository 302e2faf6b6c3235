use hostd_core::recipe::Egress;

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
    /// Names of repositories of the local forge that the guest may read beside its own.
    pub also_read: Vec<String>,
    /// Destinations that the guest may reach.
    pub egress: Vec<Egress>,
}

impl Caller {
    /// One that may reach nothing.
    pub(crate) fn nowhere(id: &str, slug: &str, environment: &str) -> Self {
        Self {
            session_id: id.into(),
            slug: slug.into(),
            environment: environment.into(),
            repository: None,
            branch_prefix: None,
            also_read: vec![],
            egress: vec![],
        }
    }
}
