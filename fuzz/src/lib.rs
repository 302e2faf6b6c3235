//! What several targets need.

use std::{cell::LazyCell, future::Future, num::NonZeroUsize};

use tokio::runtime::{Builder, Runtime};

thread_local! {
    static RUNTIME: LazyCell<Runtime> =
        LazyCell::new(|| Builder::new_current_thread().enable_time().build().expect("a runtime"));
}

/// Carries out a future that never waits for anything outside.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.with(|runtime| runtime.block_on(future))
}

/// The first byte says how large the pieces are in which the others come.
pub fn in_pieces(data: &[u8]) -> Option<(&[u8], impl Iterator<Item = &[u8]> + Clone)> {
    let (size, rest) = data.split_first()?;
    let size = NonZeroUsize::new((*size).into()).unwrap_or(NonZeroUsize::MIN);
    Some((rest, rest.chunks(size.get())))
}

/// Text, as far as it is some.
pub fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

/// Up to the first line feed, and what comes after it.
pub fn line(data: &[u8]) -> Option<(&str, &[u8])> {
    let end = data.iter().position(|byte| *byte == b'\n')?;
    Some((text(&data[..end])?, &data[end + 1..]))
}

/// A folder of this process. tests/fuzz.sh sees to it that it lies in memory and is removed.
pub fn scratch() -> std::path::PathBuf {
    let folder = std::env::temp_dir().join(std::process::id().to_string());
    std::fs::create_dir_all(&folder).expect("a folder to be made");
    folder
}
