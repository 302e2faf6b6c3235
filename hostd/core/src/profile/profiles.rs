//! The profiles that recipes may name.

use std::{collections::BTreeMap, sync::LazyLock};

use super::Profile;
use crate::checked_toml::TextError;

/// The shipped profiles: file name and text of each.
pub const SHIPPED: [(&str, &str); 8] = [
    ("aider.toml", include_str!("../../../../agents/aider.toml")),
    ("claude.toml", include_str!("../../../../agents/claude.toml")),
    ("codex.toml", include_str!("../../../../agents/codex.toml")),
    ("copilot.toml", include_str!("../../../../agents/copilot.toml")),
    ("gemini.toml", include_str!("../../../../agents/gemini.toml")),
    ("opencode.toml", include_str!("../../../../agents/opencode.toml")),
    ("qwen.toml", include_str!("../../../../agents/qwen.toml")),
    ("shell.toml", include_str!("../../../../agents/shell.toml")),
];

/// Profiles by name: the shipped ones, and over them a host's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profiles(BTreeMap<String, Result<Known, TextError>>);

/// A profile, and the file that it was read from; None: it is a shipped one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    profile: Profile,
    source: Option<String>,
}

/// Why there is no such profile. The text says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoProfile {
    /// No profile has this name.
    #[error("there is no agent profile `{name}`; there are: {}", .known.join(", "))]
    NotFound {
        /// Name that was asked for.
        name: String,
        /// Names of the profiles that there are.
        known: Vec<String>,
    },
    /// The host's own profile of this name is wrong. It is never left out in favour of the shipped one.
    #[error("agent profile `{name}` cannot be used, {error}; correct or remove that file")]
    Wrong {
        /// Name that was asked for.
        name: String,
        /// What is wrong with its text.
        error: TextError,
    },
}

impl Profiles {
    /// The shipped profiles.
    #[must_use]
    pub fn shipped() -> &'static Self {
        static PARSED: LazyLock<Profiles> = LazyLock::new(|| {
            let mut profiles = Profiles::default();
            for (file, text) in SHIPPED {
                profiles.put(file.trim_end_matches(".toml"), file, text);
            }
            profiles.0.values_mut().flatten().for_each(|known| known.source = None);
            profiles
        });
        &PARSED
    }

    /// These profiles alone, each under its own name.
    #[must_use]
    pub fn of(profiles: impl IntoIterator<Item = Profile>) -> Self {
        let known = |profile: Profile| (profile.name.clone(), Ok(Known { profile, source: None }));
        Self(profiles.into_iter().map(known).collect())
    }

    /// Puts the profile of this text under this name, over what has it now. `source` stands in errors only.
    pub fn put(&mut self, name: &str, source: &str, text: &str) {
        let parsed = Profile::parse(source, text).and_then(|profile| {
            if profile.name == name {
                return Ok(Known { profile, source: Some(source.into()) });
            }
            let message = format!("name is {:?}; allowed: {name}, as its file is called", profile.name);
            Err(TextError { source_name: source.into(), line: 1, column: 1, message })
        });
        self.0.insert(name.to_owned(), parsed);
    }

    /// Says under this name why its profile cannot be had.
    pub fn put_error(&mut self, name: &str, error: TextError) {
        self.0.insert(name.to_owned(), Err(error));
    }

    /// The profile of this name.
    ///
    /// # Errors
    /// [`NoProfile`].
    pub fn get(&self, name: &str) -> Result<&Profile, NoProfile> {
        match self.0.get(name) {
            Some(Ok(known)) => Ok(&known.profile),
            Some(Err(error)) => Err(NoProfile::Wrong { name: name.into(), error: error.clone() }),
            None => Err(NoProfile::NotFound { name: name.into(), known: self.0.keys().cloned().collect() }),
        }
    }

    /// All names, in order, with their profiles and the files that the host's own were read from, or why they cannot be used.
    pub fn all(&self) -> impl Iterator<Item = (&str, Result<(&Profile, Option<&str>), &TextError>)> {
        self.0
            .iter()
            .map(|(name, known)| (name.as_str(), known.as_ref().map(|known| (&known.profile, known.source.as_deref()))))
    }
}
