//! The host's end of the link.
