//! A commit's `.gitattributes` as one list of patterns. git before 2.41 reads none in a bare repository, but takes such a list
//! from the file that `core.attributesFile` names.

/// First version of git that reads attributes from a commit itself, by `--attr-source`.
const ATTR_SOURCE: (u32, u32) = (2, 41);

/// Whether git of this version (what `git version` prints) has `--attr-source`.
#[must_use]
pub fn has_attr_source(version: &str) -> bool {
    let number = version.trim().strip_prefix("git version ").unwrap_or_default();
    let mut parts = number.split(['.', '-', ' ']).map(|part| part.parse::<u32>().ok());
    let version = parts.next().flatten().zip(parts.next().flatten());
    version.is_some_and(|version| version >= ATTR_SOURCE)
}

/// Makes the list, from what `git grep -z -a -e '' COMMIT -- ':(glob)**/.gitattributes'` prints: for each line the commit, a
/// colon, the file's path, a NUL, and the line. A pattern of a folder's file is made one of the root; of two that fit, the
/// deeper one's stands later and wins, as in git.
#[must_use]
pub fn flattened(grepped: &[u8], commit: &str) -> Vec<u8> {
    let mut lines: Vec<(&[u8], &[u8])> = vec![];
    let mut rest = grepped;
    while let Some(nul) = rest.iter().position(|&byte| byte == 0) {
        let (file, line) = (&rest[..nul], &rest[nul + 1..]);
        let end = line.iter().position(|&byte| byte == b'\n').unwrap_or(line.len());
        rest = line.get(end + 1..).unwrap_or_default();
        let path = file.strip_prefix(commit.as_bytes()).and_then(|path| path.strip_prefix(b":")).unwrap_or(file);
        let folder = path.strip_suffix(b".gitattributes").unwrap_or_default();
        lines.push((folder, &line[..end]));
    }
    // Stable: lines of a file keep their order.
    lines.sort_by_key(|(folder, _)| folder.iter().filter(|&&byte| byte == b'/').count());
    let mut out = vec![];
    for (folder, line) in lines {
        if let Some(line) = at_root(folder, line) {
            out.extend(line);
            out.push(b'\n');
        }
    }
    out
}

/// A line of the file in `folder` (which ends with a slash, or is empty) as it reads at the root; None: it says nothing.
fn at_root(folder: &[u8], line: &[u8]) -> Option<Vec<u8>> {
    let line = line.trim_ascii();
    if line.is_empty() || line.starts_with(b"#") {
        return None;
    }
    if folder.is_empty() {
        return Some(line.to_vec());
    }
    // Macros are the root's alone.
    if line.starts_with(b"[attr]") {
        return None;
    }
    let (pattern, attributes) = pattern(line);
    // git refuses what negates.
    if pattern.is_empty() || pattern.starts_with(b"!") {
        return None;
    }
    let mut whole = vec![];
    for &byte in folder {
        if matches!(byte, b'*' | b'?' | b'[' | b'\\') {
            whole.push(b'\\');
        }
        whole.push(byte);
    }
    // One that has no slash but its last fits at any depth.
    let (&last, inner) = pattern.split_last()?;
    let any_depth = !inner.contains(&b'/') && (last != b'/' || !inner.is_empty());
    if any_depth {
        whole.extend(b"**/");
    }
    whole.extend(pattern.strip_prefix(b"/").unwrap_or(&pattern));
    let mut out = quoted(&whole);
    out.push(b' ');
    out.extend(attributes.trim_ascii());
    Some(out)
}

/// The pattern of a line, and what follows it.
fn pattern(line: &[u8]) -> (Vec<u8>, &[u8]) {
    if let Some(rest) = line.strip_prefix(b"\"")
        && let Some(unquoted) = unquoted(rest)
    {
        return unquoted;
    }
    let end = line.iter().position(|byte| byte.is_ascii_whitespace()).unwrap_or(line.len());
    (line[..end].to_vec(), &line[end..])
}

/// A quoted text up to its closing quote, without C's escapes, and what follows that; None: it is not quoted well.
fn unquoted(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (mut out, mut at) = (vec![], 0);
    loop {
        let byte = *text.get(at)?;
        at += 1;
        match byte {
            b'"' => return Some((out, &text[at..])),
            b'\\' => {
                let escape = *text.get(at)?;
                at += 1;
                out.push(match escape {
                    b'a' => 7,
                    b'b' => 8,
                    b't' => b'\t',
                    b'n' => b'\n',
                    b'v' => 11,
                    b'f' => 12,
                    b'r' => b'\r',
                    b'"' | b'\\' => escape,
                    b'0'..=b'3' => {
                        let digits = text.get(at - 1..at + 2)?;
                        at += 2;
                        u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()?
                    }
                    _ => return None,
                });
            }
            byte => out.push(byte),
        }
    }
}

fn quoted(pattern: &[u8]) -> Vec<u8> {
    let mut out = vec![b'"'];
    for &byte in pattern {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', byte]),
            0..0x20 | 0x7f.. => out.extend(format!("\\{byte:03o}").into_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("git version 2.39.5", false)]
    #[case("git version 2.40.1\n", false)]
    #[case("git version 2.41.0-rc1", true)]
    #[case("git version 2.47.3", true)]
    #[case("git version 3.0", true)]
    #[case("git version 2.45.2 (Apple Git-1)", true)]
    #[case("git version two", false)]
    #[case("", false)]
    fn versions(#[case] version: &str, #[case] has: bool) {
        assert_eq!(has_attr_source(version), has);
    }

    #[rstest]
    #[case::root("", "*.lock -merge", Some("*.lock -merge"))]
    #[case::macro_of_root("", "[attr]log merge=union", Some("[attr]log merge=union"))]
    #[case::macro_below("sub/", "[attr]log merge=union", None)]
    #[case::remark("", "  # no", None)]
    #[case::negated("sub/", "!*.lock merge", None)]
    #[case::any_depth("sub/", "*.lock\t-merge text", Some("\"sub/**/*.lock\" -merge text"))]
    #[case::anchored("sub/", "/a.lock -merge", Some("\"sub/a.lock\" -merge"))]
    #[case::with_a_slash("sub/", "b/*.lock -merge", Some("\"sub/b/*.lock\" -merge"))]
    #[case::folder("sub/", "b/ -merge", Some("\"sub/**/b/\" -merge"))]
    #[case::quoted("sub/", "\"a b\\t\\303\\274\" -merge", Some("\"sub/**/a b\\011\\303\\274\" -merge"))]
    #[case::badly_quoted("sub/", "\"a\\q -merge", Some("\"sub/**/\\\"a\\\\q\" -merge"))]
    #[case::odd_folder("s[u]b*/", "x -merge", Some("\"s\\\\[u]b\\\\*/**/x\" -merge"))]
    fn lines(#[case] folder: &str, #[case] line: &str, #[case] expected: Option<&str>) {
        let line = at_root(folder.as_bytes(), line.as_bytes());
        assert_eq!(line.map(|line| String::from_utf8(line).unwrap()).as_deref(), expected);
    }

    #[test]
    fn the_deepest_stands_last() {
        let grepped = b"c0:a/b/.gitattributes\0x -merge\nc0:.gitattributes\0x merge\nc0:.gitattributes\0\nc0:.gitattributes\0y text";
        assert_eq!(flattened(grepped, "c0"), b"x merge\ny text\n\"a/b/**/x\" -merge\n");
        assert_eq!(flattened(b"", "c0"), b"");
    }

    proptest! {
        #[test]
        fn nothing_breaks_it(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let all = flattened(&bytes, "c");
            prop_assert!(all.is_empty() || all.ends_with(b"\n"));
        }

        #[test]
        fn what_is_quoted_is_unquoted(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let quoted = quoted(&bytes);
            prop_assert_eq!(unquoted(&quoted[1..]), Some((bytes, &b""[..])));
        }
    }
}
