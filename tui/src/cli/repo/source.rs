//! Where a repository is imported from, or fetched from.

use std::path::{Component, Path, PathBuf};

use crate::cli::failure::Failure;

/// The source that the host is told: URLs as they are, paths absolute.
pub(super) fn source_of(source: String) -> Result<String, Failure> {
    let is_url = source.contains("://") || source.split_once(':').is_some_and(|(host, _)| host.contains('@'));
    if is_url || source.starts_with('/') {
        return Ok(source);
    }
    let here = std::env::current_dir().map_err(|error| Failure::failed(format!("no current folder: {error}")))?;
    Ok(absolute(&here, Path::new(&source)).to_string_lossy().into_owned())
}

fn absolute(here: &Path, path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in here.join(path).components() {
        match part {
            Component::ParentDir => {
                out.pop();
            }
            Component::CurDir => {}
            part => out.push(part),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_pass_and_paths_become_absolute() {
        for url in ["https://example.com/a.git", "git@example.com:a/b.git", "/srv/a.git", "file:///srv/a.git"] {
            assert_eq!(source_of(url.into()).unwrap(), url);
        }
        assert_eq!(absolute(Path::new("/home/sam"), Path::new("../ann/./src/a")), Path::new("/home/ann/src/a"));
    }
}
