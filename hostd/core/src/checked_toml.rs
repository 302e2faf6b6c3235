//! TOML that people write, checked value by value: errors say line and column, and what is allowed there.

mod check;
mod words;

use serde::de::DeserializeOwned;

pub(crate) use check::{
    Checked, MIB, Wrong, amount, argument, command, count, list, parsed, text_of_file, time, variables, word,
};
pub(crate) use words::{
    HOST_LOOPBACK, INTERNAL, is_any_package, is_check_name, is_destination, is_environment_name, is_guest_path,
    is_npm_package, is_package, is_package_version, is_program_name, is_python_package, is_relative_path, is_suite,
    is_user_name, is_variable, repository_of,
};
pub use words::{bytes, is_branch_name, is_repository_name};

/// What is wrong with a text that somebody wrote, and where in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{source_name}:{line}:{column}: {message}")]
pub struct TextError {
    /// Name of the text's file, as the caller gave it.
    pub source_name: String,
    /// Number of the line, from 1.
    pub line: usize,
    /// Number of the column in characters, from 1.
    pub column: usize,
    /// What is wrong, and what is allowed there.
    pub message: String,
}

/// Longest text, in bytes.
const TEXT_MAX: usize = 256 * 1024;

/// Reads a text in its raw shape and checks that. `source_name` stands in errors only.
///
/// # Errors
/// [`TextError`] for anything that is not TOML, an unknown or missing key, a wrong type, or what `check` refuses.
pub(crate) fn read<R: DeserializeOwned, T>(
    source_name: &str,
    text: &str,
    check: impl FnOnce(R) -> Checked<T>,
) -> Result<T, TextError> {
    let error = |at: usize, message: String| {
        let (line, column) = position(text, at);
        TextError { source_name: source_name.into(), line, column, message }
    };
    if text.len() > TEXT_MAX {
        return Err(error(0, format!("too long: {} bytes, at most {TEXT_MAX}", text.len())));
    }
    let raw: R =
        toml::from_str(text).map_err(|e| error(e.span().map_or(0, |span| span.start), in_toml_words(e.message())))?;
    check(raw).map_err(|wrong| error(wrong.at, wrong.message))
}

/// An error of serde's in TOML's words: serde speaks of fields and Rust's types; TOML has keys and integers.
fn in_toml_words(message: &str) -> String {
    let message = crate::text::one_line(message).replace("expected i64", "expected an integer");
    match message.split_once(" field ") {
        Some((what @ ("unknown" | "missing" | "duplicate"), rest)) => format!("{what} key {rest}"),
        _ => message,
    }
}

/// Line and column of a byte offset, both from 1.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset.min(text.len())).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}
