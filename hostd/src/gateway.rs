//! The guests' only way out.
