use std::fmt;

use serde::{Deserialize, Serialize};

/// Name of the forge that the host has itself.
const LOCAL: &str = "local";

/// Name of a forge that a host works with. Records of before a forge had a name are read as of the one that is built in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ForgeId(String);

impl ForgeId {
    /// The forge of this name.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The forge that the host has itself.
    #[must_use]
    pub fn local() -> Self {
        Self::new(LOCAL)
    }

    /// Whether this is the forge that the host has itself.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.0 == LOCAL
    }
}

impl Default for ForgeId {
    fn default() -> Self {
        Self::local()
    }
}

impl fmt::Display for ForgeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
