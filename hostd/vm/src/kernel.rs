//! The guests' kernel: found in the data folder, or fetched into it. Never installed on the host.

mod fetch;
mod folder;
mod image;
mod modules;

pub(super) use modules::are_kept;
pub use modules::{NoModule, needed};

pub(super) use fetch::{Fetch, Source};
pub(super) use folder::{Kernel, images, newest};

#[cfg(test)]
pub(super) use folder::MODULES;

/// Unpacks a kernel image, for the fuzz targets: see [`image::unpack`].
#[cfg(fuzzing)]
#[must_use]
pub fn unpack(image: &[u8]) -> Option<Vec<u8>> {
    image::unpack(image)
}
