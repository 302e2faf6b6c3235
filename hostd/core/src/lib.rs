//! The rules of a Pilothouse host. Pure: no tokio, no files, no clock; `Cargo.toml` has no crate that could do IO.

pub mod actor;
pub mod admission;
pub mod attention;
pub mod attributes;
pub mod capacity;
pub mod checks;
pub mod ci;
pub mod diff;
pub mod keys;
pub mod pulls;
pub mod queue;
pub mod recipe;
pub mod relief;
pub mod requirements;
pub mod session;
pub mod shelf;
pub mod signs;
pub mod story;
pub mod text;
pub mod upstream;

/// Milliseconds since the Unix epoch. Time always comes in as a value; nothing here reads a clock.
pub type UnixMillis = i64;

pub use actor::Actor;
pub use attention::{Attention, Turn, attention, attention_by_minute};
pub use recipe::{Recipe, RecipeError};
pub use session::{Activity, Cause, Denied, Effect, Input, Lifecycle, Session, Status, step};
