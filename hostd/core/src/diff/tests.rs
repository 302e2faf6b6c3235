use proptest::{collection::vec, prelude::*, sample::select};
use rstest::rstest;

use super::*;

/// Lines as `git diff` prints them, marks in brackets.
fn shown(old: &str, new: &str, context: u32) -> String {
    let Contents::Text(text) = diff(old.as_bytes(), new.as_bytes(), Limits::default()) else { return "no text".into() };
    let mut hunks = text.hunks(context);
    let mut out = String::new();
    while let Some(event) = hunks.next() {
        match event {
            Event::Hunk(h) => {
                out += &format!("@@ -{},{} +{},{} @@\n", h.old_start, h.old_lines, h.new_start, h.new_lines);
            }
            Event::Line(line) => {
                let mut text = String::from_utf8(hunks.bytes(&line).to_vec()).unwrap();
                for mark in line.marks.iter().rev() {
                    text.insert(mark.end as usize, ']');
                    text.insert(mark.start as usize, '[');
                }
                out.push(sign(line.kind));
                out += &text;
                out += if line.ended { "\n" } else { "\\\n" };
            }
        }
    }
    out
}

fn sign(kind: Kind) -> char {
    match kind {
        Kind::Context => ' ',
        Kind::Removed => '-',
        Kind::Added => '+',
    }
}

#[rstest]
#[case::changed("a\nb b\nc\n", "a\nb x\nc\n", "@@ -1,3 +1,3 @@\n a\n-b [b]\n+b [x]\n c\n")]
#[case::new("", "a\nb", "@@ -0,0 +1,2 @@\n+a\n+b\\\n")]
#[case::gone("a\n", "", "@@ -1,1 +0,0 @@\n-a\n")]
#[case::line_feed_at_the_end("a\nb", "a\nb\n", "@@ -1,2 +1,2 @@\n a\n-b\\\n+b\n")]
#[case::in_front("b\nc\n", "a\nb\nc\n", "@@ -1,1 +1,2 @@\n+a\n b\n")]
#[case::all_else("a b\n", "x y\n", "@@ -1,1 +1,1 @@\n-a b\n+x y\n")]
#[case::binary("a\0", "b\0", "no text")]
#[case::same("a\n", "a\n", "no text")]
fn compared(#[case] old: &str, #[case] new: &str, #[case] expected: &str) {
    let context = if expected.contains("+1,2 @@\n+a\n b") { 1 } else { 3 };
    assert_eq!(shown(old, new, context), expected);
}

#[test]
fn characters_are_never_cut() {
    let expected = "@@ -1,1 +1,1 @@\n-eine [größe] also\n+eine [größer] also\n";
    assert_eq!(shown("eine größe also\n", "eine größer also\n", 0), expected);
}

#[test]
fn hunks_are_joined_where_their_context_meets() {
    let numbers: Vec<String> = (1..=20).map(|n| n.to_string()).collect();
    let old = numbers.join("\n") + "\n";
    let near = old.replace("\n5\n", "\nfive\n").replace("\n12\n", "\ntwelve\n");
    let far = old.replace("\n5\n", "\nfive\n").replace("\n13\n", "\nthirteen\n");
    let heads = |new: &str| shown(&old, new, 3).lines().filter(|line| line.starts_with("@@")).count();
    assert_eq!((heads(&near), heads(&far)), (1, 2));
    assert_eq!(shown(&old, &far, 0).lines().next(), Some("@@ -5,1 +5,1 @@"));
}

#[test]
fn a_change_in_a_large_text_is_found_where_it_is() {
    let old = "line\n".repeat(100_000) + "end\n";
    let new = "line\n".repeat(50_000) + "new\n" + &"line\n".repeat(50_000) + "end\n";
    assert_eq!(shown(&old, &new, 1), "@@ -50000,2 +50000,3 @@\n line\n+new\n line\n");
}

#[test]
fn what_is_too_large_is_said_to_be() {
    let limits = Limits { bytes: 10, lines: 3 };
    assert!(matches!(diff("12345678901", "x", limits), Contents::TooLarge));
    assert!(matches!(diff("1\n2\n3\n4\n", "x", limits), Contents::TooLarge));
    assert!(matches!(diff("1\n2\n3\n", "x", limits), Contents::Text(_)));
    assert!(matches!(diff("12345678901", "12345678901", limits), Contents::Same));
    assert!(matches!(diff("1234567890\0", "x", limits), Contents::Binary));
}

/// Texts of few different lines, so that much is alike; some end without a line feed, some are no UTF-8.
fn text() -> impl Strategy<Value = Vec<u8>> {
    const LINES: [&[u8]; 8] = [b"a\n", b"b\n", b"  c d\n", b"  c e\n", b"\n", b"\xff\xfe x\n", b"}\n", b"\r\n"];
    let line = select(&LINES[..]);
    (vec(line, 0..60), any::<bool>()).prop_map(|(lines, ended)| {
        let mut text = lines.concat();
        if !ended {
            text.pop();
        }
        text
    })
}

/// Texts that a line may become.
const EDITS: [&[u8]; 3] = [b"x\n", b"", b"l 7\n"];

/// The new text, made from the old one and the hunks.
fn apply(old: &[u8], hunks: &mut Hunks<&[u8]>, context: u32) -> Result<Vec<u8>, TestCaseError> {
    let lines: Vec<&[u8]> = old.split_inclusive(|byte| *byte == b'\n').collect();
    let (mut at, mut out) = (0, vec![]);
    let (mut left, mut new_line) = ((0, 0), 0);
    while let Some(event) = hunks.next() {
        match event {
            Event::Hunk(hunk) => {
                prop_assert_eq!(left, (0, 0), "the hunk before is not whole");
                left = (hunk.old_lines, hunk.new_lines);
                let begin = (hunk.old_start - u32::from(hunk.old_lines > 0)) as usize;
                prop_assert!(begin >= at, "hunks overlap");
                lines[at..begin].iter().for_each(|line| out.extend_from_slice(line));
                new_line += u32::try_from(begin - at).unwrap();
                prop_assert_eq!(hunk.new_start - u32::from(hunk.new_lines > 0), new_line);
                at = begin;
            }
            Event::Line(line) => {
                let mut bytes = hunks.bytes(&line).to_vec();
                if line.ended {
                    bytes.push(b'\n');
                }
                let length = u32::try_from(bytes.len()).unwrap();
                prop_assert!(line.marks.iter().all(|mark| mark.start < mark.end && mark.end <= length));
                prop_assert!(line.marks.windows(2).all(|pair| pair[0].end < pair[1].start));
                if line.kind != Kind::Added {
                    prop_assert_eq!(lines[at], &bytes[..], "it is not what the old text has");
                    at += 1;
                    left.0 -= 1;
                }
                if line.kind != Kind::Removed {
                    out.extend_from_slice(&bytes);
                    new_line += 1;
                    left.1 -= 1;
                }
                prop_assert!(context > 0 || line.kind != Kind::Context);
            }
        }
    }
    prop_assert_eq!(left, (0, 0), "the last hunk is not whole");
    lines[at..].iter().for_each(|line| out.extend_from_slice(line));
    Ok(out)
}

proptest! {
    #[test]
    fn hunks_lead_from_the_old_text_to_the_new(old in text(), new in text(), context in 0_u32..5) {
        match diff(&old[..], &new[..], Limits::default()) {
            Contents::Same => prop_assert_eq!(old, new),
            Contents::Text(text) => {
                let (added, removed) = (text.added, text.removed);
                let mut hunks = text.hunks(context);
                prop_assert_eq!(apply(&old, &mut hunks, context)?, new.clone());
                let Contents::Text(again) = diff(&old[..], &new[..], Limits::default()) else { unreachable!() };
                let kinds: Vec<Kind> = again.hunks(context).filter_map(|event| match event {
                    Event::Line(line) => Some(line.kind),
                    Event::Hunk(_) => None,
                }).collect();
                let count = |kind| kinds.iter().filter(|k| **k == kind).count() as u64;
                prop_assert_eq!((count(Kind::Added), count(Kind::Removed)), (added, removed));
            }
            other => prop_assert!(false, "{other:?}"),
        }
    }

    #[test]
    fn large_texts_with_a_few_edits_too(edits in vec((0_usize..4000, select(&EDITS[..])), 0..4)) {
        let old: Vec<u8> = (0..4000).flat_map(|n| format!("l {}\n", n % 700).into_bytes()).collect();
        let mut lines: Vec<&[u8]> = old.split_inclusive(|byte| *byte == b'\n').collect();
        for (at, line) in edits {
            lines[at] = line;
        }
        let new = lines.concat();
        if let Contents::Text(text) = diff(&old[..], &new[..], Limits::default()) {
            prop_assert_eq!(apply(&old, &mut text.hunks(3), 3)?, new);
        } else {
            prop_assert_eq!(old, new);
        }
    }

    #[test]
    fn lists_may_come_in_any_pieces(cuts in vec(0_usize..400, 0..6)) {
        let (zero, id) = ("0".repeat(40), "a".repeat(40));
        let text = format!(
            ":000000 100644 {zero} {id} A\0new\0:100644 100755 {id} {id} R087\0from\0to \u{1f600}\0:120000 000000 {id} {zero} D\0x\0"
        );
        let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut < text.len()).collect();
        cuts.sort_unstable();
        let (mut raw, mut changes, mut from) = (RawChanges::default(), vec![], 0);
        for to in cuts.into_iter().chain([text.len()]) {
            changes.extend(raw.push(&text.as_bytes()[from..to]).unwrap());
            from = to;
        }
        raw.end().unwrap();
        prop_assert_eq!(changes.len(), 3);
        prop_assert_eq!((changes[1].similarity, changes[1].status), (87, Status::Renamed));
        prop_assert_eq!((&changes[1].old_path[..], &changes[1].new_path[..]), (&b"from"[..], "to \u{1f600}".as_bytes()));
        prop_assert!(!changes[2].new_mode.exists() && changes[0].new_mode == Mode(0o100_644));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        let mut raw = RawChanges::default();
        let _ = raw.push(&bytes).and_then(|_| raw.end());
    }
}

#[rstest]
#[case::no_colon("100644 100644 a a M\0x\0")]
#[case::short_id(":100644 100644 abc abc M\0x\0")]
#[case::no_mode(":100649 100644 {id} {id} M\0x\0")]
#[case::no_status(":100644 100644 {id} {id} Z\0x\0")]
#[case::no_path(":100644 100644 {id} {id} M\0\0")]
#[case::too_alike(":100644 100644 {id} {id} R101\0x\0y\0")]
#[case::no_end(":100644 100644 {id} {id} M\0x")]
fn malformed_lists_are_refused(#[case] text: &str) {
    let mut raw = RawChanges::default();
    let read = raw.push(text.replace("{id}", &"a".repeat(40)).as_bytes()).and_then(|_| raw.end());
    assert_eq!(read, Err(Malformed));
}
