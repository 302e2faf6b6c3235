//! What comments are about: it must be there.

use hostd_core::pulls::Place;

use crate::forge::{ForgeError, git::Repository};

/// Finds the place in `head` and quotes its line.
pub(super) async fn find(repository: &Repository, head: &str, place: &mut Place) -> Result<(), ForgeError> {
    let path = &place.path;
    let gone = |what: String| ForgeError::NoPlace(format!("{what} in the head commit; `review show` says what is new"));
    if path.is_empty() || path.contains(['\0', '\n']) || path.starts_with('/') || path.split('/').any(|p| p == "..") {
        return Err(ForgeError::Invalid(format!("{path:?} is no path in a repository")));
    }
    let name = format!("{head}:{path}");
    let Some(line) = place.line else {
        let ran = repository.run(["cat-file", "-t", &name]).await?;
        return if ran.line() == "blob" { Ok(()) } else { Err(gone(format!("there is no file `{path}`"))) };
    };
    let ran = repository.run(["cat-file", "blob", &name]).await?;
    if ran.code != 0 {
        return Err(gone(format!("there is no file `{path}`")));
    }
    let text = ran.stdout.strip_suffix(b"\n").unwrap_or(&ran.stdout);
    let lines = || text.split(|&byte| byte == b'\n');
    let quote = line.checked_sub(1).and_then(|before| lines().nth(before as usize));
    let Some(quote) = quote.filter(|_| !ran.stdout.is_empty()) else {
        let count = if ran.stdout.is_empty() { 0 } else { lines().count() };
        return Err(gone(format!("`{path}` has no line {line} (it has {count})")));
    };
    // The core bounds and cleans it.
    place.quote = String::from_utf8_lossy(quote).into_owned();
    Ok(())
}
