//! The rules of a Pilothouse host. Pure: no tokio, no files, no clock; `Cargo.toml` has no crate that could do IO.

pub mod actor;
pub mod attention;
pub mod attributes;
pub mod bundle;
pub mod capacity;
mod checked_toml;
pub mod checks;
pub mod ci;
pub mod credentials;
pub mod devcontainer;
pub mod diff;
pub mod explain;
pub mod first_words;
mod forge_id;
pub mod image;
pub mod kernel_log;
pub mod keys;
pub mod local_services;
pub mod profile;
pub mod pulls;
pub mod queue;
pub mod recipe;
pub mod relief;
pub mod reports;
pub mod requirements;
pub mod session;
pub mod shelf;
pub mod signs;
pub mod story;
pub mod strangers;
pub mod streams;
pub mod text;
pub mod triage;
pub mod upstream;
pub mod usage;

/// Milliseconds since the Unix epoch. Time always comes in as a value; nothing here reads a clock.
pub type UnixMillis = i64;

pub use actor::Actor;
pub use attention::{Attention, Turn, attention, attention_by_minute};
pub use forge_id::ForgeId;
pub use recipe::{Recipe, RecipeError};
pub use session::{Activity, Cause, Denied, Effect, Input, Lifecycle, Session, Status, step};
