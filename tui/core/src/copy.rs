//! What happens to text that a program in a session wants on the user's clipboard (OSC 52).

use serde::Deserialize;

/// Values of `copy` in config.toml, for `pilothouse attach` and the console.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// The user is told, and a key copies the text.
    #[default]
    Ask,
    /// The text is copied.
    Allow,
    /// The text is not copied, and nothing is said.
    Deny,
}
