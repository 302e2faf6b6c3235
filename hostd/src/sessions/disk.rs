//! What lies on the disk of a session: its folder, and the layers in it.

pub(super) mod folder;
pub(super) mod hard_links;
pub(super) mod merge;
pub(super) mod next_layer;
