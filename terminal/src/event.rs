//! What a program tells its terminal beside what it draws.

use base64::{Engine as _, alphabet, engine};

/// Longest title that is kept, in characters.
const TITLE_MAX: usize = 256;
/// Longest text of a notification that is kept, in characters.
const NOTIFICATION_MAX: usize = 1024;
/// Most events that wait to be taken; more are not kept. Answers are.
const EVENTS_MAX: usize = 256;
/// Decoder of base64 whose padding may be left out.
pub(crate) const BASE64: engine::GeneralPurpose = engine::GeneralPurpose::new(
    &alphabet::STANDARD,
    engine::GeneralPurposeConfig::new().with_decode_padding_mode(engine::DecodePaddingMode::Indifferent),
);

/// Something that a program said. Texts are without control characters, and bounded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The program rang the bell: BEL.
    Bell,
    /// The program set the title of the window: OSC 0 and 2.
    Title(String),
    /// The program sent a notification: OSC 9, 777 and 99.
    Notification(Notification),
    /// The program shows how far it is, or that it is no longer at work: OSC 9;4, and OSC 133;A and D, by which a shell says that what it
    /// ran has ended.
    Progress(Progress),
    /// The program copied text to the clipboard: OSC 52.
    Copy(Copy),
    /// The program copied to the clipboard what is longer than is kept.
    LongCopy,
    /// Bytes that the terminal answers to the program's queries, in their order.
    Answer(Vec<u8>),
    /// Bytes that whoever takes reports of the program's status answers to its query for them ([`crate::status`]): not a
    /// viewer, whose terminal is not asked.
    StatusAnswer(Vec<u8>),
}

/// A notification for a person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notification {
    /// Title of the notification; may be empty.
    pub title: String,
    /// Text of the notification; may be empty where there is a title.
    pub body: String,
    /// Number of the OSC that it came by: 9, 777 or 99.
    pub osc: u16,
}

/// How far a program is with what it does, as ConEmu and Windows Terminal show it in the task bar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Progress {
    /// The program shows none, or one that failed or was put off.
    #[default]
    Over,
    /// The program is at work, and nobody knows how far.
    Unknown,
    /// So much is done, 0 to 100.
    Percent(u8),
}

/// A copy to the clipboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Selections as the program named them: `c`, `p`, ...; often empty.
    pub selections: String,
    /// Bytes that are copied.
    pub text: Vec<u8>,
}

impl Copy {
    /// The sequence that asks a terminal to make this copy.
    #[must_use]
    pub fn sequence(&self) -> Vec<u8> {
        format!("\x1b]52;{};{}\x1b\\", self.selections, engine::general_purpose::STANDARD.encode(&self.text))
            .into_bytes()
    }
}

/// Events that wait to be taken.
#[derive(Debug, Default)]
pub(crate) struct Events {
    waiting: Vec<Event>,
    /// The notification that comes in several pieces.
    begun: Notification,
}

impl Events {
    pub(crate) fn take(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.waiting)
    }

    pub(crate) fn push(&mut self, event: Event) {
        let full = self.waiting.len() >= EVENTS_MAX;
        match (self.waiting.last_mut(), event) {
            (Some(Event::Answer(before)), Event::Answer(more)) => before.extend_from_slice(&more),
            (Some(Event::StatusAnswer(before)), Event::StatusAnswer(more)) => before.extend_from_slice(&more),
            (_, answer @ (Event::Answer(_) | Event::StatusAnswer(_))) => self.waiting.push(answer),
            (Some(Event::Bell), Event::Bell) => {}
            (Some(Event::Progress(before)), Event::Progress(now)) => *before = now,
            (_, event) if !full => self.waiting.push(event),
            _ => {}
        }
    }

    /// Takes an OSC: what stands between its introducer and its terminator.
    pub(crate) fn osc(&mut self, text: &[u8]) {
        let (number, rest) = split(text, b';');
        match number {
            b"0" | b"2" => self.push(Event::Title(title(rest))),
            b"9" if rest.starts_with(b"4;") => self.progress(&rest[2..]),
            b"133" if matches!(split(rest, b';').0, b"A" | b"D") => self.push(Event::Progress(Progress::Over)),
            // Other numbers of ConEmu's are no text.
            b"9" if !is_number(split(rest, b';').0) => {
                self.notify(Notification { title: String::new(), body: body(rest), osc: 9 })
            }
            b"777" => {
                let (what, rest) = split(rest, b';');
                let (title, text) = split(rest, b';');
                if what == b"notify" {
                    self.notify(Notification { title: body(title), body: body(text), osc: 777 });
                }
            }
            b"99" => self.kitty(rest),
            b"52" => self.copy(rest),
            _ => {}
        }
    }

    /// Takes state and percentage of ConEmu's progress: 0 is none, 1 as usual, 2 in error, 3 of unknown length, 4 paused. Whether a
    /// program works on after an error nobody knows, and one that pauses does not.
    fn progress(&mut self, text: &[u8]) {
        let (state, percent) = split(text, b';');
        let progress = match state {
            b"0" | b"2" | b"4" => Progress::Over,
            b"1" => percentage(split(percent, b';').0).map_or(Progress::Unknown, Progress::Percent),
            b"3" => Progress::Unknown,
            _ => return,
        };
        self.push(Event::Progress(progress));
    }

    fn notify(&mut self, notification: Notification) {
        if !(notification.title.is_empty() && notification.body.is_empty()) {
            self.push(Event::Notification(notification));
        }
    }

    /// Takes one of kitty's notifications: `key=value:... ; payload`, in pieces while `d=0`.
    fn kitty(&mut self, text: &[u8]) {
        let (metadata, payload) = split(text, b';');
        let value = |key: u8| metadata.split(|byte| *byte == b':').find_map(|pair| pair.strip_prefix(&[key, b'=']));
        let payload =
            if value(b'e') == Some(b"1") { BASE64.decode(payload).unwrap_or_default() } else { payload.into() };
        let text = body(&payload);
        let into = match value(b'p') {
            None | Some(b"title") => &mut self.begun.title,
            Some(b"body") => &mut self.begun.body,
            _ => return,
        };
        let room = NOTIFICATION_MAX.saturating_sub(into.chars().count());
        into.extend(text.chars().take(room));
        if value(b'd') != Some(b"0") {
            let done = std::mem::take(&mut self.begun);
            self.notify(Notification { osc: 99, ..done });
        }
    }

    fn copy(&mut self, text: &[u8]) {
        let (selections, data) = split(text, b';');
        let known = selections.iter().all(|byte| b"cpqs01234567".contains(byte)) && selections.len() <= 16;
        // A question for what is on the clipboard is none of a program's business.
        if known && let Ok(text) = BASE64.decode(data) {
            self.push(Event::Copy(Copy { selections: String::from_utf8_lossy(selections).into_owned(), text }));
        }
    }
}

/// A percentage, at most 100; None: it is no number.
fn percentage(text: &[u8]) -> Option<u8> {
    let bounded = |text: &str| text.parse::<u8>().unwrap_or(100).min(100);
    std::str::from_utf8(text).ok().filter(|_| is_number(text)).map(bounded)
}

fn split(text: &[u8], at: u8) -> (&[u8], &[u8]) {
    match text.iter().position(|byte| *byte == at) {
        Some(end) => (&text[..end], &text[end + 1..]),
        None => (text, b""),
    }
}

fn is_number(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

/// A title as it is shown.
pub(crate) fn title(text: &[u8]) -> String {
    clean(text, TITLE_MAX)
}

fn body(text: &[u8]) -> String {
    clean(text, NOTIFICATION_MAX)
}

/// The text without control characters, at most `max` characters of it.
fn clean(text: &[u8], max: usize) -> String {
    String::from_utf8_lossy(text).chars().filter(|c| !c.is_control()).take(max).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn notification(osc: u16, title: &str, body: &str) -> Event {
        Event::Notification(Notification { title: title.into(), body: body.into(), osc })
    }

    #[rstest]
    #[case("0;a title", vec![Event::Title("a title".into())])]
    #[case("2;a;b\x01", vec![Event::Title("a;b".into())])]
    #[case("1;icon", vec![])]
    #[case("9;done", vec![notification(9, "", "done")])]
    #[case("9;4;1;50", vec![Event::Progress(Progress::Percent(50))])]
    #[case("9;4;1;200", vec![Event::Progress(Progress::Percent(100))])]
    #[case("9;4;1;99999999999999999999999", vec![Event::Progress(Progress::Percent(100))])]
    #[case("9;4;1", vec![Event::Progress(Progress::Unknown)])]
    #[case("9;4;1;-5", vec![Event::Progress(Progress::Unknown)])]
    #[case("9;4;2;50", vec![Event::Progress(Progress::Over)])]
    #[case("9;4;4;50", vec![Event::Progress(Progress::Over)])]
    #[case("9;4;4", vec![Event::Progress(Progress::Over)])]
    #[case("9;4;3;7", vec![Event::Progress(Progress::Unknown)])]
    #[case("9;4;0;", vec![Event::Progress(Progress::Over)])]
    #[case("9;4;0", vec![Event::Progress(Progress::Over)])]
    #[case("9;4;7;1", vec![])]
    #[case("9;4;", vec![])]
    #[case("9;9;C:", vec![])]
    #[case("133;A;cl=line", vec![Event::Progress(Progress::Over)])]
    #[case("133;D;1", vec![Event::Progress(Progress::Over)])]
    #[case("133;B", vec![])]
    #[case("777;notify;Build;all; well", vec![notification(777, "Build", "all; well")])]
    #[case("777;precmd", vec![])]
    #[case("99;;hello", vec![notification(99, "hello", "")])]
    #[case("99;i=1:p=body:e=1;aGk", vec![notification(99, "", "hi")])]
    #[case("99;i=1:p=?;", vec![])]
    #[case("52;c;aGVsbG8=", vec![Event::Copy(Copy { selections: "c".into(), text: b"hello".into() })])]
    #[case("52;;aGVsbG8", vec![Event::Copy(Copy { selections: String::new(), text: b"hello".into() })])]
    #[case("52;c;?", vec![])]
    fn oscs(#[case] text: &str, #[case] expected: Vec<Event>) {
        let mut events = Events::default();
        events.osc(text.as_bytes());
        assert_eq!(events.take(), expected);
    }

    #[test]
    fn a_notification_may_come_in_pieces() {
        let mut events = Events::default();
        for piece in ["99;i=7:d=0;Ti", "99;i=7:d=0;tle", "99;i=7:d=1:p=body;text"] {
            events.osc(piece.as_bytes());
        }
        assert_eq!(events.take(), [notification(99, "Title", "text")]);
    }

    #[test]
    fn what_waits_is_bounded_and_answers_are_kept() {
        let mut events = Events::default();
        for n in 0..1000 {
            events.osc(format!("2;{n}").as_bytes());
            events.push(Event::Bell);
            events.push(Event::Answer(b"x".to_vec()));
        }
        let answers = events.take().into_iter().filter(|event| matches!(event, Event::Answer(_))).count();
        assert!(answers > 0 && answers < 1000);
    }
}
