//! What goes into `update`: what a person asked for, and what happened.

use crate::{Command, Report, key::Key};

/// An event of the terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A key was pressed.
    Key(Key),
    /// Text was pasted.
    Paste(String),
    /// The mouse did something; only where [`crate::State::wants_mouse`].
    Mouse(Mouse),
    /// The window has another size: columns, rows.
    Resize(u16, u16),
    /// The window has got the keyboard, or lost it.
    Focus(bool),
}

/// An event of the mouse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mouse {
    /// What it did.
    pub kind: MouseKind,
    /// From 0.
    pub column: u16,
    /// From 0.
    pub row: u16,
    /// Control held.
    pub ctrl: bool,
    /// Alt held.
    pub alt: bool,
    /// Shift held.
    pub shift: bool,
}

/// What the mouse did. Buttons: 0 left, 1 middle, 2 right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MouseKind {
    /// A button went down.
    Down(u8),
    /// A button went up.
    Up(u8),
    /// Moved with a button held.
    Drag(u8),
    /// Moved.
    Moved,
    /// The wheel, up.
    WheelUp,
    /// The wheel, down.
    WheelDown,
}

/// One change for `update`.
#[derive(Clone, Debug)]
pub enum Action {
    /// A command.
    Run(Command),
    /// A key of a chord that is not complete.
    Pend(Key),
    /// Keys that mean nothing here.
    Unbound(Vec<Key>),
    /// A key for the text field or the terminal.
    Type(Key),
    /// Text for the text field or the terminal.
    Paste(String),
    /// The mouse.
    Mouse(Mouse),
    /// The window has this size: columns, rows.
    Resized(u16, u16),
    /// The window has got the keyboard, or lost it.
    Focused(bool),
    /// News; all that came since the last time.
    Reports(Vec<Report>),
    /// Time has passed.
    Tick,
    /// The console is about to end: what is not kept yet is.
    Ending,
}
