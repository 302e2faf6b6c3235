//! The Program Status Protocol, OSC 7501, revision 0.2 of October 2026: a program tells its terminal what it is doing.
//!
//! A report is `ESC ] 7501 ; key=value:key=value ST`, where `ST` is `ESC \` or `BEL`. Keys are `[a-z]+`, values
//! `[A-Za-z0-9_.,+/=-]*`, texts base64 of UTF-8. All of it is foreign: a report that exceeds a limit is void as a whole.
//! Source of the format: the page "Program status protocol" of superlogical's Rex.

mod records;

use base64::Engine as _;
pub use records::{RECORDS_MAX, Records};

use crate::{event::BASE64, query::content};

/// Answer to the query whether this terminal takes reports: the bytes of the query.
pub const ANSWER: &[u8] = b"\x1b]7501;?\x1b\\";
/// Bytes that begin each report.
pub const BEGIN: &[u8] = b"\x1b]7501;";
/// Longest report from its ESC to its terminator, in bytes.
pub const SEQUENCE_MAX: usize = 4096;
/// Longest key, in bytes.
const KEY_MAX: usize = 16;
/// Longest name of a program, in bytes.
const APP_MAX: usize = 32;
/// Longest title: as base64, and decoded, in bytes.
const TITLE_MAX: (usize, usize) = (256, 192);
/// Longest message: as base64, and decoded, in bytes.
const MESSAGE_MAX: (usize, usize) = (2732, 2048);
/// Longest id of a record and longest segment of one, in bytes; most segments.
const ID_MAX: (usize, usize, usize) = (128, 32, 8);

/// What a program says that it is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The program has nothing to do.
    Idle,
    /// The program works.
    Working,
    /// The program has a result.
    Done,
    /// The program waits for a person; None: it does not say for what.
    Blocked(Option<Kind>),
    /// The program has failed.
    Error,
}

/// What a program waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A person's approval.
    Permission,
    /// A person's answer.
    Question,
    /// A log-in, or a token.
    Auth,
}

/// What a program said of one thing that it is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it is doing.
    pub state: State,
    /// How much of it is done, 0 to 100; with working and blocked alone.
    pub progress: Option<u8>,
    /// Name of the program, of at most 32 bytes; empty: that of the nearest record above it.
    pub app: String,
    /// Title, of at most 192 bytes without control characters; may be empty.
    pub title: String,
    /// Message, of at most 2048 bytes without control characters; may be empty.
    pub message: String,
}

/// A report as it was read. An empty id is that of the root record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// The program asks whether reports are taken.
    Query,
    /// The record of this id is replaced as a whole.
    Set(String, Record),
    /// The record of this id goes, with all below it; of an empty id, all go.
    Clear(String),
}

/// Reads a sequence from its ESC on, with or without its terminator. None: it is no report, or a void one.
#[must_use]
pub fn parse(sequence: &[u8]) -> Option<Report> {
    if sequence.len() > SEQUENCE_MAX {
        return None;
    }
    let body = content(sequence.strip_prefix(BEGIN)?);
    if body.trim_ascii() == b"?" {
        return Some(Report::Query);
    }
    let mut fields = Fields::default();
    for pair in body.split(|byte| *byte == b':') {
        // A malformed pair is skipped, one that exceeds a limit voids the report, also where a later one stands in for it.
        if let Some((key, value)) = pair_of(pair) {
            fields.take(key.ok()?, value)?;
        }
    }
    fields.report()
}

/// Key and value of a pair; None: it is malformed. The key is an error where it is too long.
fn pair_of(pair: &[u8]) -> Option<(Result<&[u8], ()>, &str)> {
    let at = pair.iter().position(|byte| *byte == b'=')?;
    let (key, value) = (pair[..at].trim_ascii(), pair[at + 1..].trim_ascii());
    if key.len() > KEY_MAX {
        return Some((Err(()), ""));
    }
    let named = !key.is_empty() && key.iter().all(u8::is_ascii_lowercase);
    let plain = value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_.,+/=-".contains(byte));
    if named && plain { Some((Ok(key), std::str::from_utf8(value).ok()?)) } else { None }
}

#[derive(Default)]
struct Fields<'a> {
    state: &'a str,
    kind: &'a str,
    progress: &'a str,
    app: &'a str,
    id: Option<&'a str>,
    title: String,
    message: String,
}

impl<'a> Fields<'a> {
    /// Takes a pair; the last of its key counts. None: it voids the report.
    fn take(&mut self, key: &[u8], value: &'a str) -> Option<()> {
        match key {
            b"state" => self.state = value,
            b"kind" => self.kind = value,
            b"progress" => self.progress = value,
            b"app" if value.len() > APP_MAX => return None,
            b"app" => self.app = value,
            b"id" if !is_id(value) => return None,
            b"id" => self.id = Some(value),
            b"title" => self.title = decoded(value, TITLE_MAX)?,
            b"msg" => self.message = decoded(value, MESSAGE_MAX)?,
            _ => {}
        }
        Some(())
    }

    fn report(self) -> Option<Report> {
        let id = self.id.unwrap_or_default().to_owned();
        let state = match self.state {
            "idle" => State::Idle,
            "working" => State::Working,
            "done" => State::Done,
            "error" => State::Error,
            "blocked" => State::Blocked(match self.kind {
                "permission" => Some(Kind::Permission),
                "question" => Some(Kind::Question),
                "auth" => Some(Kind::Auth),
                _ => None,
            }),
            "clear" => return Some(Report::Clear(id)),
            _ => return None,
        };
        let digits = (1..=3).contains(&self.progress.len()) && self.progress.bytes().all(|byte| byte.is_ascii_digit());
        let progress = self.progress.parse().ok().filter(|progress| digits && *progress <= 100_u8);
        let has_progress = matches!(state, State::Working | State::Blocked(_));
        let app = if is_name(self.app) { self.app.to_owned() } else { String::new() };
        let Self { title, message, .. } = self;
        Some(Report::Set(id, Record { state, progress: progress.filter(|_| has_progress), app, title, message }))
    }
}

/// Whether a text may be an id: segments between slashes.
fn is_id(id: &str) -> bool {
    let (all, segment, depth) = ID_MAX;
    let fits = |part: &str| part.len() <= segment && is_name(part);
    id.len() <= all && id.split('/').count() <= depth && id.split('/').all(fits)
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.+-".contains(&byte))
}

/// The text of base64; None: it is none, is too long, or has a control character.
fn decoded(text: &str, (encoded_max, max): (usize, usize)) -> Option<String> {
    if text.len() > encoded_max {
        return None;
    }
    let text = String::from_utf8(BASE64.decode(text).ok()?).ok()?;
    (text.len() <= max && !text.contains(char::is_control)).then_some(text)
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn read(body: &str) -> Option<Report> {
        parse(format!("\x1b]7501;{body}\x1b\\").as_bytes())
    }

    fn is(state: State) -> Record {
        Record { state, progress: None, app: String::new(), title: String::new(), message: String::new() }
    }

    fn root(record: Record) -> Option<Report> {
        Some(Report::Set(String::new(), record))
    }

    #[rstest]
    #[case::idle("state=idle", is(State::Idle))]
    #[case::working("state=working:progress=40", Record { progress: Some(40), ..is(State::Working) })]
    #[case::permission(
        "state=blocked:kind=permission:app=claude-code:msg=QmFzaChscyk",
        Record { app: "claude-code".into(), message: "Bash(ls)".into(), ..is(State::Blocked(Some(Kind::Permission))) }
    )]
    #[case::padded("state=done:title=aGk=", Record { title: "hi".into(), ..is(State::Done) })]
    #[case::unknown_kind("state=blocked:kind=lunch", is(State::Blocked(None)))]
    #[case::kind_of_another_state("state=error:kind=auth", is(State::Error))]
    #[case::progress_of_another_state("state=done:progress=40", is(State::Done))]
    #[case::progress_too_high("state=working:progress=101", is(State::Working))]
    #[case::progress_signed("state=working:progress=+7", is(State::Working))]
    #[case::progress_long("state=working:progress=0007", is(State::Working))]
    #[case::unknown_key("color=red:state=idle", is(State::Idle))]
    #[case::malformed_pairs("x:=y:A=b:state=idle:app=a b:msg", is(State::Idle))]
    #[case::last_wins("state=idle:state=working", is(State::Working))]
    #[case::blanks(" state = idle ", is(State::Idle))]
    #[case::app_of_other_letters("state=idle:app=a/b", is(State::Idle))]
    fn reports_of_the_root(#[case] body: &str, #[case] record: Record) {
        assert_eq!(read(body), root(record));
    }

    #[rstest]
    #[case::no_state("app=x")]
    #[case::unknown_state("state=tired")]
    #[case::empty("")]
    #[case::bad_base64("state=idle:msg=a")]
    #[case::other_base64("state=idle:msg=aGk-")]
    #[case::no_utf8("state=idle:msg=/w==")]
    #[case::control_character("state=idle:msg=YQpi")]
    #[case::c1_control("state=idle:title=woU=")]
    #[case::voided_by_an_earlier_pair("state=idle:msg=YQpi:msg=aGk")]
    #[case::long_key("state=idle:abcdefghijklmnopq=x")]
    #[case::long_app("state=idle:app=abcdefghijklmnopqrstuvwxyz0123456")]
    #[case::empty_id("state=idle:id=")]
    #[case::empty_segment("state=idle:id=a//b")]
    #[case::other_letters("state=idle:id=a=b")]
    #[case::deep("state=idle:id=a/b/c/d/e/f/g/h/i")]
    fn void_reports(#[case] body: &str) {
        assert_eq!(read(body), None);
    }

    #[rstest]
    #[case("?", Report::Query)]
    #[case("state=clear", Report::Clear(String::new()))]
    #[case("state=clear:id=a/b", Report::Clear("a/b".into()))]
    #[case("state=idle:id=a/b.c+d_e-f", Report::Set("a/b.c+d_e-f".into(), is(State::Idle)))]
    fn other_reports(#[case] body: &str, #[case] expected: Report) {
        assert_eq!(read(body), Some(expected));
    }

    /// Each limit holds to the byte.
    #[rstest]
    #[case::title(|n| format!("state=idle:title={}", STANDARD.encode("x".repeat(n))), 192)]
    #[case::message(|n| format!("state=idle:msg={}", STANDARD.encode("x".repeat(n))), 2048)]
    #[case::app(|n| format!("state=idle:app={}", "x".repeat(n)), 32)]
    #[case::segment(|n| format!("state=idle:id={}", "x".repeat(n)), 32)]
    #[case::id(|n| format!("state=idle:id={}/{}/{}/{}", "x".repeat(32), "x".repeat(32), "x".repeat(31), "x".repeat(n - 98)), 128)]
    #[case::depth(|n| format!("state=idle:id={}", vec!["x"; n].join("/")), 8)]
    #[case::key(|n| format!("state=idle:{}=1", "x".repeat(n)), 16)]
    // Of which the introducer takes seven bytes and the terminator two.
    #[case::sequence(|n| format!("state=idle:x={}", "y".repeat(n - 22)), 4096)]
    fn limits(#[case] body: fn(usize) -> String, #[case] most: usize) {
        assert!(read(&body(most)).is_some(), "{most}");
        assert_eq!(read(&body(most + 1)), None, "{}", most + 1);
    }

    #[test]
    fn each_terminator_ends_a_report() {
        for end in ["\x07", "\x1b\\", ""] {
            assert_eq!(parse(format!("\x1b]7501;state=idle{end}").as_bytes()), root(is(State::Idle)));
        }
        assert_eq!((parse(b"\x1b]750;state=idle\x07"), parse(b"\x1b]7501\x07")), (None, None));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_bounded(bytes: Vec<u8>, pairs in "((state|id|app|msg|title|progress)=[a-zA-Z0-9/=+]{0,40}:?){0,8}") {
            for body in [bytes, pairs.into_bytes()] {
                let sequence = [BEGIN, &body, b"\x07"].concat();
                let Some(Report::Set(id, record)) = parse(&sequence) else { continue };
                prop_assert!(id.is_empty() || is_id(&id));
                prop_assert!(record.app.len() <= 32 && record.title.len() <= 192 && record.message.len() <= 2048);
                prop_assert!(!record.title.contains(char::is_control) && !record.message.contains(char::is_control));
                prop_assert!(record.progress.is_none_or(|progress| progress <= 100));
            }
        }
    }
}
