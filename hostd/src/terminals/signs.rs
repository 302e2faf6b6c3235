//! What an agent's terminal says by itself: output, bells, notifications, its title.

use hostd_core::UnixMillis;
use pilothouse_terminal::{Emulator, Event, Notification};

/// Of one terminal, since hostd knows it. What was drawn from the log counts as nothing but the title.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signs {
    /// Bytes that the agent has written: the offset behind its last output.
    pub offset: u64,
    /// When output came last; None: none has.
    pub last_output: Option<UnixMillis>,
    /// How often it rang; a burst that came at once counts as one.
    pub bells: u64,
    /// How many notifications it sent.
    pub notifications: u64,
    /// The last of them: OSC 9, 777 or 99. Without control characters; of at most 1024 characters each.
    pub notification: Option<Notification>,
    /// The window's title; empty where none was set.
    pub title: String,
}

impl Signs {
    /// Takes what output has said; gives the answers to its queries.
    pub(super) fn take(&mut self, events: Vec<Event>) -> Vec<u8> {
        let mut answers = Vec::new();
        for event in events {
            match event {
                Event::Bell => self.bells += 1,
                Event::Notification(notification) => {
                    self.notifications += 1;
                    self.notification = Some(notification);
                }
                Event::Title(title) => self.title = title,
                Event::Answer(bytes) => answers.extend_from_slice(&bytes),
                Event::Copy(_) | Event::LongCopy => {}
            }
        }
        answers
    }
}

/// A terminal as it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// The program asked for pastes in brackets (mode 2004).
    pub bracketed_paste: bool,
    /// A full-screen program: the alternate screen is shown.
    pub alternate: bool,
    /// The cursor's row and column, from 0.
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
