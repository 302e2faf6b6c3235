//! What `git merge-tree` says, as its answer is written with `--write-tree -z --name-only --messages`.

use crate::text;

/// Most conflicting paths that are named; the rest is counted.
const PATHS: usize = 20;
/// Most of git's conflict messages that are kept.
const SAID: usize = 5;
const SAID_MAX: usize = 512;
const PATH_MAX: usize = 256;

/// What a merge of two commits came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MergedTrees {
    /// The commits merge without conflict; the id of the resulting tree.
    Clean(String),
    /// The commits conflict. Both lists are for people; one of them may be empty.
    Conflicts {
        /// Paths of the conflicting files, at most 20; where there are more, a last entry counts the rest.
        paths: Vec<String>,
        /// git's conflict messages, cleaned, one line each; at most five.
        said: Vec<String>,
    },
}

impl MergedTrees {
    /// Reads the output of `git merge-tree`; `clean`: it exited with code 0. None: the output names no tree, and there was no
    /// merge. git exits with 1 where both sides changed the same, and also where a commit is missing; only in the first case it
    /// names a tree.
    #[must_use]
    pub fn read(stdout: &[u8], clean: bool) -> Option<Self> {
        let mut fields = stdout.split(|&byte| byte == 0).map(String::from_utf8_lossy);
        let tree = fields.next().filter(|tree| is_id(tree.trim()))?.trim().to_owned();
        if clean {
            return Some(Self::Clean(tree));
        }
        let mut paths: Vec<String> =
            fields.by_ref().take_while(|path| !path.is_empty()).map(|path| text::clean(&path, PATH_MAX)).collect();
        paths.dedup();
        if paths.len() > PATHS {
            let more = paths.len() - PATHS;
            paths.truncate(PATHS);
            paths.push(format!("and {more} more"));
        }
        let mut said = vec![];
        // Of each message: how many paths, the paths, its kind, its text.
        while let Some(count) = fields.next().and_then(|count| count.parse::<usize>().ok()) {
            let Some(kind) = fields.nth(count) else { break };
            let Some(message) = fields.next() else { break };
            if kind.starts_with("CONFLICT") && said.len() < SAID {
                said.push(text::clean(&text::one_line(&message), SAID_MAX));
            }
        }
        Some(Self::Conflicts { paths, said })
    }
}

fn is_id(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TREE: &str = "4485ca34f0ca2e2c9cb80e4a0c522c7c79cff7ce";

    fn read(rest: &str, clean: bool) -> Option<MergedTrees> {
        MergedTrees::read(rest.replace("TREE", TREE).replace('|', "\0").as_bytes(), clean)
    }

    #[test]
    fn answers() {
        assert_eq!(read("TREE|", true), Some(MergedTrees::Clean(TREE.into())));
        let conflicts = |paths: &[&str], said: &[&str]| {
            let owned = |all: &[&str]| all.iter().map(ToString::to_string).collect();
            Some(MergedTrees::Conflicts { paths: owned(paths), said: owned(said) })
        };
        let file = "TREE|f|f||1|f|Auto-merging|Auto-merging f\n|1|f|CONFLICT (contents)|CONFLICT (content): Merge conflict in f\n|";
        assert_eq!(read(file, false), conflicts(&["f"], &["CONFLICT (content): Merge conflict in f"]));
        let split =
            "TREE||1|d|CONFLICT(directory rename unclear split)|CONFLICT (directory rename split): Unclear where\n|";
        assert_eq!(read(split, false), conflicts(&[], &["CONFLICT (directory rename split): Unclear where"]));
        let two = "TREE|a|b||2|a|b|CONFLICT (file/directory)|CONFLICT: a\x1b[2J and b|";
        assert_eq!(read(two, false), conflicts(&["a", "b"], &["CONFLICT: a[2J and b"]));
    }

    #[test]
    fn what_names_no_tree_is_no_answer() {
        for none in ["", "|", "merge-tree: nobody - not something we can merge\n", "4485|a|"] {
            assert_eq!(read(none, false), None);
            assert_eq!(read(none, true), None);
        }
    }

    #[test]
    fn many_paths_are_counted() {
        let many: String = (0..30).map(|n| format!("f{n}|")).collect();
        let Some(MergedTrees::Conflicts { paths, said }) = read(&format!("TREE|{many}"), false) else { panic!() };
        assert_eq!((paths.len(), paths[20].as_str(), said.len()), (21, "and 10 more", 0));
    }

    proptest! {
        #[test]
        fn nothing_breaks_it(rest in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut answer = format!("{TREE}\0").into_bytes();
            answer.extend(rest);
            prop_assert!(MergedTrees::read(&answer, false).is_some());
        }
    }
}
