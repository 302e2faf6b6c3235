//! Looking at a session's terminal, from beside the list or in the whole window.

use pilothouse_terminal::Copy;

use crate::{
    Millis,
    effect::Ticket,
    fleet::{Session, SessionKey},
    key::Key,
    report::TerminalReport,
    terminal::Terminal,
};

/// How an open terminal stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// No screen came yet.
    Connecting,
    /// Bytes come.
    Live,
    /// Gone since then; tried again.
    Lost(Millis, String),
    /// The program or its VM has ended; why.
    Ended(String),
    /// The host will not; why.
    Refused(String),
}

/// Who writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Role {
    /// This console does.
    pub writer: bool,
    /// Who does; empty: nobody.
    pub name: String,
    /// How many watch.
    pub viewers: u32,
}

/// What of a session decides whether a terminal that was refused or has ended is worth another try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    generation: u64,
    lifecycle: String,
}

impl Life {
    /// Of this session now.
    #[must_use]
    pub fn of(session: &Session) -> Self {
        Self { generation: session.generation, lifecycle: session.lifecycle.clone() }
    }
}

/// An open terminal.
pub struct Viewer {
    /// Whose.
    pub session: SessionKey,
    /// Of its stream.
    pub ticket: Ticket,
    /// The last screen heard of; kept while the connection is gone.
    pub terminal: Option<Terminal>,
    /// How it stands.
    pub link: Link,
    /// Who writes.
    pub role: Role,
    /// Of the session when the stream was opened.
    pub life: Option<Life>,
    /// Rows of history to keep.
    pub history: usize,
}

impl Viewer {
    /// Takes news of its stream.
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

    /// Whether its stream has ended for good while the session has gone on since.
    #[must_use]
    pub fn outlived_by(&self, session: &Session) -> bool {
        matches!(self.link, Link::Ended(_) | Link::Refused(_)) && self.life.as_ref() != Some(&Life::of(session))
    }
}

/// A key or a paste for a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Typed {
    /// A key.
    Key(Key),
    /// A paste.
    Paste(String),
}

/// What was typed into a terminal that is not there yet. How it is encoded depends on what the program asked for.
#[derive(Debug, Default)]
pub struct Ahead {
    typed: Vec<Typed>,
    /// A key counts as one.
    bytes: usize,
}

impl Ahead {
    /// Pasted bytes and keys kept.
    pub const MAX: usize = 64 << 10;

    /// Keeps one; false: there is no room for it.
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

    /// All of it, in the order in which it came.
    #[must_use]
    pub fn typed(&self) -> &[Typed] {
        &self.typed
    }
}

/// The terminal in the whole window.
pub struct Attach {
    /// The terminal.
    pub viewer: Viewer,
    /// Never write.
    pub observe: bool,
    /// The history is looked at; keys move in it.
    pub scrolling: bool,
    /// The size that the writer's window was last said to have.
    pub told: Option<(u16, u16)>,
    /// What is typed until it is known who writes.
    pub ahead: Option<Ahead>,
    /// What the program wants copied, until the user wants it, too.
    pub offered: Option<Copy>,
    /// When its program last rang.
    pub rang: Option<Millis>,
    /// When the bell was last rung because it became a person's turn in it.
    pub called: Option<Millis>,
}
