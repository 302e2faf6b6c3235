//! Where the guest keeps its own files.

/// Folder of the guest's own files in a running guest.
pub const FOLDER: &str = "/run/pilothouse";
