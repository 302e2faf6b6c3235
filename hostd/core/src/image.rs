//! Images of container registries: their names, their manifests, and what they say of how programs run in them.
//!
//! All of it is written by others: bounded, and checked before anything is made of it.

mod challenge;
mod config;
mod manifest;
mod reference;
#[cfg(test)]
mod tests;

pub use challenge::Challenge;
pub use config::{Config, Defaults};
pub use manifest::{
    ACCEPT, Blob, CONFIG_MAX, DOCUMENT_MAX, Document, IMAGE_MAX, Manifest, Platform, Variant, feature_archive,
};
pub use reference::{Digest, Reference};
