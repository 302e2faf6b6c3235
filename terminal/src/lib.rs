//! A program's terminal, from the bytes that the program writes: screen, history and modes; what it says beside that; what a
//! terminal answers; and the bytes that put another terminal where this one is. Pure: no IO, no clock.
//!
//! ```text
//!  bytes ─▶ Scanner ─▶ Machine ──▶ engine (vt100): cells, history, cursor
//!                         ├──────▶ what the engine lacks: character sets, tab stops, modes, pen, keyboards
//!                         └──────▶ events: bell, title, notifications, progress, copies, answers
//! ```
//!
//! The engine only ever gets whole sequences of those that it carries out as terminals do; what it does not know, or does
//! otherwise, is put into such ones first.

mod charset;
#[cfg(test)]
mod corpus;
mod draw;
mod emulator;
mod erase;
mod event;
mod filter;
pub mod guard;
pub mod keys;
mod machine;
mod marks;
mod modes;
mod pen;
pub mod query;
mod reflow;
mod report;
pub mod scanner;
pub mod sequence;
pub mod status;
mod tabs;
#[cfg(test)]
mod tests;
mod text;

pub use draw::{AFRESH, Drawn, RESET};
pub use emulator::{Emulator, Look};
pub use event::{Copy, Event, Notification, Progress};
pub use text::shown;
