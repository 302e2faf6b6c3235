//! Repositories and their git.
