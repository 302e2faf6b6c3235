//! The console without its terminal: what it knows, what keys mean, what changes, what is drawn.
//!
//! ```text
//!  terminal event ── resolve(keymap, state) ──▶ Action ── update(state, now) ──▶ Effects ──▶ the runtime
//!                                                 ▲                                              │
//!                                                 └────────────────── Reports ◀──────────────────┘
//!  state ── view(state, theme) ──▶ Frame
//! ```
//!
//! Pure: no tokio, no sockets, no terminal, no clock. Time comes in as Unix milliseconds. Drawing changes nothing.
//! Text of others (titles, reasons, terminal output) is cleaned where it comes in and again where it is drawn.

pub mod action;
mod ages;
pub mod attach;
pub mod carry;
pub mod command;
pub mod copy;
pub mod dialog;
pub mod diff;
pub mod draft;
pub mod edit;
pub mod effect;
mod event;
pub mod files;
pub mod fleet;
pub mod fuzzy;
pub mod host_id;
pub mod key;
pub mod keymap;
pub mod layout;
pub mod list;
pub mod log;
pub mod notice;
pub mod preview;
pub mod pull;
pub mod report;
mod resolve;
#[cfg(test)]
mod samples;
pub mod state;
pub mod story;
pub mod terminal;
pub mod text;
pub mod theme;
pub mod ticket;
mod update;
mod view;
pub mod when;

/// Milliseconds since the Unix epoch.
pub type Millis = i64;

pub use action::Action;
pub use command::Command;
pub use effect::Effect;
pub use keymap::Keymap;
pub use report::Report;
pub use resolve::resolve;
pub use state::State;
pub use theme::Theme;
pub use update::update;
pub use view::view;
