//! Identity of a host.

use std::sync::Arc;

/// Identity of a host: made from what the host is called and how it is reached. It is the same wherever the host stands among
/// others, and no other host's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(Arc<str>);

impl HostId {
    /// The identity that this text stands for; another text is another host.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }
}
