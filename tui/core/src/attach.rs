//! Looking at a session's terminal, from beside the list or in the whole window.

use pilothouse_terminal::Copy;

use crate::{
    Millis,
    fleet::{Session, SessionKey},
    key::Key,
    report::TerminalReport,
    terminal::Terminal,
    ticket::Ticket,
};

/// State of an open terminal's connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// No screen has come yet.
    Connecting,
    /// The connection is up, and bytes come.
    Live,
    /// The connection is gone since then, and why; it is tried again.
    Lost(Millis, String),
    /// The program or its VM has ended; why.
    Ended(String),
    /// The host refuses the terminal; why.
    Refused(String),
}

/// Roles at a terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Role {
    /// Whether this console is the writer.
    pub writer: bool,
    /// Name of the writer; empty: there is none.
    pub name: String,
    /// Number of viewers, previews apart.
    pub viewers: u32,
}

/// Parts of a session that decide whether a terminal that was refused or has ended is worth another try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    generation: u64,
    lifecycle: String,
}

impl Life {
    /// The parts of this session now.
    #[must_use]
    pub fn of(session: &Session) -> Self {
        Self { generation: session.generation, lifecycle: session.lifecycle.clone() }
    }
}

/// An open terminal of a session.
pub struct Viewer {
    /// The session whose terminal it is.
    pub session: SessionKey,
    /// Ticket of the terminal's stream.
    pub ticket: Ticket,
    /// The last screen that was heard of; kept while the connection is gone.
    pub terminal: Option<Terminal>,
    /// State of the connection.
    pub link: Link,
    /// Roles at the terminal, as the host told them last.
    pub role: Role,
    /// Parts of the session as they were when the stream was opened; None: not known.
    pub life: Option<Life>,
    /// Rows of history that are kept.
    pub history: usize,
}

impl Viewer {
    /// Takes news of the terminal's stream.
    pub fn report(&mut self, report: TerminalReport, now: Millis) {
        match report {
            TerminalReport::Screen { columns, rows, contents } => {
                let looked_at = self.terminal.as_ref().map_or(0, |t| t.scrolled().0);
                let mut terminal = Terminal::from_screen(columns, rows, &contents, self.history);
                terminal.scroll_to(looked_at);
                self.terminal = Some(terminal);
                self.link = Link::Live;
            }
            TerminalReport::Output(bytes) => {
                if let Some(terminal) = &mut self.terminal {
                    terminal.output(&bytes);
                }
            }
            TerminalReport::Role { writer, name, viewers } => {
                self.role = Role { writer, name: crate::text::one_line(&name, 256), viewers };
            }
            TerminalReport::Ended(why) => self.link = Link::Ended(crate::text::one_line(&why, 1024)),
            TerminalReport::Refused(why) => self.link = Link::Refused(crate::text::one_line(&why, 1024)),
            TerminalReport::Lost(why) => {
                self.role = Role::default();
                let since = if let Link::Lost(since, _) = self.link { since } else { now };
                self.link = Link::Lost(since, crate::text::one_line(&why, 1024));
            }
            TerminalReport::Stalled => {}
        }
    }

    /// Whether the stream has ended for good while the session has gone on since.
    #[must_use]
    pub fn outlived_by(&self, session: &Session) -> bool {
        matches!(self.link, Link::Ended(_) | Link::Refused(_)) && self.life.as_ref() != Some(&Life::of(session))
    }
}

/// A key or a paste that was typed for a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Typed {
    /// A key was pressed.
    Key(Key),
    /// This text was pasted.
    Paste(String),
}

/// Keys and pastes for a terminal that is not there yet. How they are encoded depends on what the program asked for.
#[derive(Debug, Default)]
pub struct Ahead {
    typed: Vec<Typed>,
    /// Bytes that were pasted, and number of keys, together.
    bytes: usize,
}

impl Ahead {
    /// Most pasted bytes and keys that are kept, together.
    pub const MAX: usize = 64 << 10;

    /// Keeps a key or a paste; false: there is no room for it.
    #[must_use]
    pub fn keep(&mut self, typed: Typed) -> bool {
        let bytes = self.bytes + if let Typed::Paste(text) = &typed { text.len() } else { 1 };
        let fits = bytes <= Self::MAX;
        if fits {
            self.bytes = bytes;
            self.typed.push(typed);
        }
        fits
    }

    /// Whether nothing was typed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.typed.is_empty()
    }

    /// Keys and pastes, in the order in which they came.
    #[must_use]
    pub fn typed(&self) -> &[Typed] {
        &self.typed
    }
}

/// A terminal in the whole window.
pub struct Attach {
    /// The open terminal.
    pub viewer: Viewer,
    /// Whether this console is never to become the writer.
    pub observe: bool,
    /// Whether the history is looked at; keys move in it then.
    pub scrolling: bool,
    /// Size that the writer's window was last said to have, in columns and rows.
    pub told: Option<(u16, u16)>,
    /// What is typed until it is known who writes.
    pub ahead: Option<Ahead>,
    /// Text that the program wants copied, until the user wants it, too.
    pub offered: Option<Copy>,
    /// When the program last rang the bell.
    pub rang: Option<Millis>,
    /// When the bell was last rung because it became a person's turn in the session.
    pub called: Option<Millis>,
}
