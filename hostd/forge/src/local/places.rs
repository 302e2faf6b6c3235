//! What comments are about: it must be there.

use hostd_core::pulls::Place;

use crate::{ForgeError, git::Repository};

/// Finds the place in `head` and quotes its line.
pub(super) async fn find(repository: &Repository, head: &str, place: &mut Place) -> Result<(), ForgeError> {
    let path = &place.path;
    let gone = |what: String| ForgeError::NoPlace(format!("{what} in the head commit; `review show` says what is new"));
    if path.is_empty() || path.contains(['\0', '\n']) || path.starts_with('/') || path.split('/').any(|p| p == "..") {
        return Err(ForgeError::Invalid(format!("{path:?} is no path in a repository")));
    }
    let (kind, id) = entry(repository, head, path).await?;
    let contents = match kind.as_str() {
        "blob" | "commit" if place.line.is_none() => return Ok(()),
        "blob" => {
            let ran = repository.run(["cat-file", "blob", &id]).await?;
            if ran.code == 0 { ran.stdout } else { return Err(ran.failed("reading a file")) }
        }
        // A submodule has no lines of its own; a diff shows it as this one.
        "commit" => format!("Subproject commit {id}\n").into_bytes(),
        _ => return Err(gone(format!("there is no file `{path}`"))),
    };
    let line = place.line.unwrap_or(0);
    let text = contents.strip_suffix(b"\n").unwrap_or(&contents);
    let lines = || text.split(|&byte| byte == b'\n');
    let quote = line.checked_sub(1).and_then(|before| lines().nth(before as usize));
    let Some(quote) = quote.filter(|_| !contents.is_empty()) else {
        let count = if contents.is_empty() { 0 } else { lines().count() };
        return Err(gone(format!("`{path}` has no line {line} (it has {count})")));
    };
    // The core bounds and cleans it.
    place.quote = String::from_utf8_lossy(quote).into_owned();
    Ok(())
}

/// What stands at a path of a commit: blob, tree, or commit (a submodule), with its id; empty where nothing does.
async fn entry(repository: &Repository, head: &str, path: &str) -> Result<(String, String), ForgeError> {
    let ran = repository.run(["--literal-pathspecs", "ls-tree", "-z", head, "--", path]).await?;
    if ran.code != 0 {
        return Err(ran.failed("looking a file up"));
    }
    let listed = String::from_utf8_lossy(&ran.stdout);
    // `MODE KIND ID<TAB>PATH`; of a path with a slash at its end, git lists what is in it.
    let (facts, found) = listed.split_once('\t').unwrap_or_default();
    let mut facts = facts.split(' ').skip(1).map(str::to_owned);
    if found.trim_end_matches('\0') != path {
        return Ok(Default::default());
    }
    Ok((facts.next().unwrap_or_default(), facts.next().unwrap_or_default()))
}
