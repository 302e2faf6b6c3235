//! Where a repository came from: its new commits are fetched from there, and merged work is pushed back.

use serde::{Deserialize, Serialize};

use crate::UnixMillis;

/// What is known of a repository's upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Upstream {
    /// URL of the upstream, or an absolute path on the host; empty: there is no upstream.
    pub url: String,
    /// Seconds between two fetches; 0: fetches only when somebody asks for one.
    pub fetch_every: u64,
    /// When the upstream was last fetched from, well or not; 0: never.
    pub fetched_at: UnixMillis,
    /// Why the last fetch failed; empty: it did not.
    pub error: String,
}

impl Upstream {
    /// Shortest time between two scheduled fetches, in seconds.
    pub const EVERY_MIN: u64 = 60;

    /// When the next scheduled fetch is due; None: none is scheduled.
    #[must_use]
    pub fn due_at(&self) -> Option<UnixMillis> {
        let every = i64::try_from(self.fetch_every.saturating_mul(1000)).unwrap_or(i64::MAX);
        (every > 0 && !self.url.is_empty()).then(|| self.fetched_at.saturating_add(every))
    }

    /// The upstream's URL for people to see: without the password or token that may be in it.
    #[must_use]
    pub fn shown(&self) -> String {
        let hidden = self.url.split_once("://").and_then(|(scheme, rest)| {
            let host = &rest[..rest.find('/').unwrap_or(rest.len())];
            let (user, _) = host.rsplit_once('@')?;
            // A user alone may be a token.
            (scheme != "ssh" || user.contains(':')).then(|| format!("{scheme}://***{}", &rest[user.len()..]))
        });
        hidden.unwrap_or_else(|| self.url.clone())
    }
}

/// How a branch of the repository stands to the upstream's branch of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stands {
    /// The repository does not have the branch.
    Missing,
    /// Both branches are at the same commit.
    Same,
    /// The upstream's branch has all commits of the repository's, and more: the repository's may be moved.
    Behind,
    /// The repository's branch has all commits of the upstream's, and more: it may be pushed.
    Ahead,
    /// Each branch has commits that the other lacks.
    Diverged,
}

impl Stands {
    /// The word of the API and of `--json`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Same => "same",
            Self::Behind => "behind",
            Self::Ahead => "ahead",
            Self::Diverged => "diverged",
        }
    }

    /// Derives it from the numbers of commits that only the repository's branch (`ahead`) and only the upstream's (`behind`)
    /// has.
    #[must_use]
    pub fn of(ahead: u64, behind: u64) -> Self {
        match (ahead, behind) {
            (0, 0) => Self::Same,
            (0, _) => Self::Behind,
            (_, 0) => Self::Ahead,
            _ => Self::Diverged,
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn it_is_due_after_its_time_and_never_without_one() {
        let upstream =
            |url: &str, fetch_every| Upstream { url: url.into(), fetch_every, fetched_at: 7, ..Upstream::default() };
        assert_eq!(upstream("/a", 60).due_at(), Some(60_007));
        assert_eq!(upstream("/a", 0).due_at(), None);
        assert_eq!(upstream("", 60).due_at(), None);
        assert_eq!(upstream("/a", u64::MAX).due_at(), Some(i64::MAX));
    }

    #[rstest]
    #[case("https://example.com/a.git", "https://example.com/a.git")]
    #[case("https://token@example.com/a.git", "https://***@example.com/a.git")]
    #[case("https://ann:secret@example.com/a@b.git", "https://***@example.com/a@b.git")]
    #[case("ssh://git@example.com/a.git", "ssh://git@example.com/a.git")]
    #[case("git@example.com:a.git", "git@example.com:a.git")]
    #[case("/srv/a@b", "/srv/a@b")]
    fn secrets_are_not_shown(#[case] url: &str, #[case] shown: &str) {
        assert_eq!(Upstream { url: url.into(), ..Upstream::default() }.shown(), shown);
    }
}
