//! What each form of a difference can do.

use pilothouse_proto::hostd::v1::{DiffFile, DiffPiece, DiffStart};

use crate::cli::failure::Failure;

/// A form in which a difference is shown as it comes.
pub(super) trait Form {
    /// Begins: what is compared is known.
    fn start(&mut self, _start: &DiffStart) -> Result<(), Failure> {
        Ok(())
    }
    /// Takes the list, once all files are known; `cut`: it does not have all.
    fn listed(&mut self, files: &[DiffFile], cut: bool) -> Result<(), Failure>;
    /// Takes a piece of a file's hunks.
    fn piece(&mut self, file: &DiffFile, piece: &DiffPiece) -> Result<(), Failure>;
    /// Ends; an error where something is missing that was asked for.
    fn end(&mut self) -> Result<(), Failure>;
}
