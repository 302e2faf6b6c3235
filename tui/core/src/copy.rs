//! What happens to text that a program in a session wants on the user's clipboard (OSC 52).

use serde::Deserialize;

/// `copy` in config.toml; the same in `pilothouse attach` and in the console.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// It is said, and a key copies it.
    #[default]
    Ask,
    /// It is copied.
    Allow,
    /// Nothing happens.
    Deny,
}
