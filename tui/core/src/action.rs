//! What goes into `update`: what a person asked for, and what happened.

use crate::{Command, Report, key::Key};

/// An event of the terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A key was pressed.
    Key(Key),
    /// Text was pasted.
    Paste(String),
    /// The mouse did something; the runtime tells only where [`crate::State::wants_mouse`].
    Mouse(Mouse),
    /// The window has another size: columns and rows.
    Resize(u16, u16),
    /// The window got the keyboard (true), or lost it.
    Focus(bool),
}

/// An event of the mouse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mouse {
    /// What the mouse did.
    pub kind: MouseKind,
    /// Column of the window, from 0.
    pub column: u16,
    /// Row of the window, from 0.
    pub row: u16,
    /// Whether Control was held.
    pub ctrl: bool,
    /// Whether Alt was held.
    pub alt: bool,
    /// Whether Shift was held.
    pub shift: bool,
}

/// What the mouse did. Buttons: 0 left, 1 middle, 2 right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MouseKind {
    /// A button went down.
    Down(u8),
    /// A button went up.
    Up(u8),
    /// The mouse moved while this button was held.
    Drag(u8),
    /// The mouse moved.
    Moved,
    /// The wheel was turned up.
    WheelUp,
    /// The wheel was turned down.
    WheelDown,
}

/// One change for `update` to make.
#[derive(Clone, Debug)]
pub enum Action {
    /// Run a command.
    Run(Command),
    /// Hold a key of a chord that is not complete.
    Pend(Key),
    /// Drop keys that mean nothing here.
    Unbound(Vec<Key>),
    /// Give a key to the text field or the terminal.
    Type(Key),
    /// Give text to the text field or the terminal.
    Paste(String),
    /// Take an event of the mouse.
    Mouse(Mouse),
    /// The window has this size: columns and rows.
    Resized(u16, u16),
    /// The window got the keyboard (true), or lost it.
    Focused(bool),
    /// Take news; all that came since the last time.
    Reports(Vec<Report>),
    /// Time has passed.
    Tick,
    /// The console is about to end: keep what is not kept yet.
    Ending,
}
