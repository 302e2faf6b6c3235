//! Agents' terminals: screen, history, viewers, log.
//!
//! ```text
//!  guest ──pump──▶ Terminal ──▶ emulator (screen, history, modes; crate pilothouse-terminal)
//!    ▲                 ├──────▶ terminal.log
//!    │                 └──────▶ viewers, each with a bounded queue; one that lags gets a fresh screen
//!    └──pump── input, size ◀── the one writer; answers to queries ◀── emulator, where no writer's terminal answers
//! ```

mod files;
#[cfg(fuzzing)]
pub mod fuzz;
mod pump;
mod signs;
mod size;
mod terminal;
#[cfg(test)]
mod tests;
mod viewer;

pub use files::{copy, log_files};
pub use pump::Pump;
pub use signs::{Look, Signs};
pub use size::Size;
pub use terminal::{NotTyped, Terminal};
pub use viewer::{AttachOptions, Role, Screen, Shown, Viewer};
