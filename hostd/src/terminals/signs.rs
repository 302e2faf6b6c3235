//! What an agent's terminal says by itself: output, bells, notifications, its title, its progress.

use hostd_core::UnixMillis;
use pilothouse_terminal::{Emulator, Event, Notification, Progress};

/// What one terminal has said by itself since hostd knows it. Of what was drawn from the log, the title alone counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signs {
    /// Bytes that the agent has written: the offset behind its last output.
    pub offset: u64,
    /// When output last came; None: none has come.
    pub last_output: Option<UnixMillis>,
    /// Number of bells; a burst that came at once counts as one.
    pub bells: u64,
    /// Number of notifications.
    pub notifications: u64,
    /// The last notification: OSC 9, 777 or 99. Its texts are without control characters, of at most 1024 characters each.
    pub notification: Option<Notification>,
    /// Title of the window; empty where none was set.
    pub title: String,
    /// Progress that the program shows.
    pub progress: Progress,
    /// When the program last showed it; 0: it never has.
    pub progress_at: UnixMillis,
}

impl Signs {
    /// Takes what output has said; returns the answers to its queries.
    pub(super) fn take(&mut self, events: Vec<Event>, now: UnixMillis) -> Answers {
        let mut answers = Answers::default();
        for event in events {
            match event {
                Event::Bell => self.bells += 1,
                Event::Notification(notification) => {
                    self.notifications += 1;
                    self.notification = Some(notification);
                }
                Event::Title(title) => self.title = title,
                Event::Progress(progress) => (self.progress, self.progress_at) = (progress, now),
                Event::Answer(bytes) => answers.0.push((Whose::Anybody, bytes)),
                Event::StatusAnswer(bytes) => answers.0.push((Whose::Host, bytes)),
                Event::Copy(_) | Event::LongCopy => {}
            }
        }
        answers
    }
}

/// Whose an answer to a program's query is to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// The writer's terminal gives it, or the host where no writer's does.
    Anybody,
    /// The host gives it, whoever looks on: what the program will say then is for the host, and no viewer's terminal is asked.
    Host,
}

/// Answers to a program's queries, in the order of the queries.
#[derive(Debug, Default)]
pub(super) struct Answers(Vec<(Whose, Vec<u8>)>);

impl Answers {
    /// What the host answers now, and what a writer's terminal answers, if one does.
    pub(super) fn split(self, writer_answers: bool) -> (Vec<u8>, Vec<u8>) {
        let (mut now, mut theirs) = (Vec::new(), Vec::new());
        for (whose, bytes) in self.0 {
            let into = if writer_answers && whose == Whose::Anybody { &mut theirs } else { &mut now };
            into.extend(bytes);
        }
        (now, theirs)
    }
}

/// State of a terminal's screen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Whether the program asked for pastes in brackets (mode 2004).
    pub bracketed_paste: bool,
    /// Whether the alternate screen is shown, as by a full-screen program.
    pub alternate: bool,
    /// Row and column of the cursor, from 0.
    pub cursor: (u16, u16),
    /// Text of the cursor's row before the cursor, and from it on.
    pub row: (String, String),
}

impl Look {
    pub(super) fn at(emulator: &Emulator) -> Self {
        let screen = emulator.screen();
        Self {
            bracketed_paste: screen.bracketed_paste(),
            alternate: screen.alternate_screen(),
            cursor: screen.cursor_position(),
            row: emulator.cursor_row(),
        }
    }
}
