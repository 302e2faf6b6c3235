//! The file by which it is seen that an agent's conversation is there to go on with. Its program may have been ended before it wrote
//! any, and then refuses to go on.

use std::{fs, path::Path};

/// Most entries of folders that are looked at.
const ENTRIES_MAX: usize = 4096;

/// Whether a file that is not empty fits this pattern: a path below this home after `~/`, in which a part `*` is any one folder.
pub(crate) fn is_there(pattern: &str, home: &Path) -> bool {
    let Some(path) = pattern.strip_prefix("~/") else { return false };
    let parts: Vec<&str> = path.split('/').collect();
    let mut left = ENTRIES_MAX;
    find(home, &parts, &mut left)
}

fn find(folder: &Path, parts: &[&str], left: &mut usize) -> bool {
    let Some((part, rest)) = parts.split_first() else {
        return fs::metadata(folder).is_ok_and(|file| file.is_file() && file.len() > 0);
    };
    if matches!(*part, "" | "." | "..") {
        return false;
    }
    if *part != "*" {
        return find(&folder.join(part), rest, left);
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Some(fewer) = left.checked_sub(1) else { return false };
        *left = fewer;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) && find(&entry.path(), rest, left) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_is_there_where_its_file_has_something_in_it() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join(".claude/projects/-work-widgets");
        fs::create_dir_all(&folder).unwrap();
        fs::create_dir_all(home.path().join(".claude/projects/other/d.jsonl")).unwrap();
        let is = |pattern: &str| is_there(pattern, home.path());
        assert!(!is("~/.claude/projects/*/a.jsonl"));
        fs::write(folder.join("a.jsonl"), "").unwrap();
        assert!(!is("~/.claude/projects/*/a.jsonl"), "it was ended before it wrote anything");
        fs::write(folder.join("a.jsonl"), "{}\n").unwrap();
        assert!(is("~/.claude/projects/*/a.jsonl") && is("~/.claude/*/-work-widgets/a.jsonl"));
        for no in [
            "~/.claude/projects/*/b.jsonl",
            "~/.claude/projects/a.jsonl",
            "~/.claude/*/a.jsonl",
            "~/.claude/projects/*/d.jsonl",
            "~/.claude/projects/*/../-work-widgets/a.jsonl",
            "/etc/passwd",
            "",
        ] {
            assert!(!is(no), "{no}");
        }
    }
}
