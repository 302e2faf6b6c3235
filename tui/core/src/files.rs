//! Themes and keymaps as files: where in one something is wrong.

use std::{fmt, ops::Range};

/// What is wrong with a file, and where. Reads `file:line:column: message`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct FileError {
    /// Name of the file as the user knows it.
    pub file: String,
    /// Number of the line, from 1.
    pub line: usize,
    /// Number of the column in characters, from 1.
    pub column: usize,
    /// What is wrong and what would be right; one line.
    pub message: String,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)
    }
}

/// A file that is being read.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) file: &'a str,
    pub(crate) text: &'a str,
}

impl Source<'_> {
    /// An error at these bytes of the text.
    pub(crate) fn error(self, at: Range<usize>, message: impl Into<String>) -> FileError {
        let before = self.text.get(..at.start.min(self.text.len())).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |n| n + 1);
        FileError {
            file: self.file.into(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: message.into(),
        }
    }

    /// Parses the file as TOML.
    pub(crate) fn parse(&self) -> Result<toml::de::DeTable<'_>, FileError> {
        match toml::de::DeTable::parse(self.text) {
            Ok(table) => Ok(table.into_inner()),
            Err(error) => {
                let message = crate::text::one_line(error.message(), 400);
                Err(self.error(error.span().unwrap_or(0..0), message))
            }
        }
    }
}
