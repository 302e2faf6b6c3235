//! The console's runtime: the terminal, the hosts' clients, the clock. What is shown and why is `tui-core`'s.
//!
//! ```text
//!  crossterm events ──▶ resolve ─┐                        ┌─▶ frame, when something changed, at most 60 a second
//!  hosts, terminals, logs ──────▶├──▶ update ──▶ state ───┤
//!  clock, signals ──────────────▶┘                        └─▶ effects: calls, streams, the terminal itself
//! ```
//!
//! Every host has a task of its own, and so has every stream; all of them report through one bounded channel. A slow or
//! dead host stalls its own tasks and nothing else.

mod alerts;
mod calls;
mod clock;
mod convert;
mod diffs;
mod drafts;
mod hosts;
mod input;
mod logs;
mod pulls;
mod run;
mod screen;
mod settings;
mod stories;
mod streams;

use std::sync::Arc;

use eyre::WrapErr as _;
use tui_core::{Action, State, report::Report, text::one_line, update};

use crate::client::{HostAddress, Hosts};
use clock::now;
use run::Runtime;
use screen::Screen;

/// Environment variable with what ends with the console, in a sentence. Whoever starts the console and then ends what it shows
/// sets it, so that leaving asks first.
const ENDS_WITH_IT: &str = "PILOTHOUSE_ENDS_WITH_CONSOLE";

/// Runs the console on these hosts until the user leaves it. The terminal is restored however it ends.
///
/// # Errors
/// When there is no terminal to draw on, or it breaks.
pub(crate) async fn run(hosts: Vec<HostAddress>) -> eyre::Result<()> {
    let settings = settings::load();
    let known: Vec<_> = hosts.iter().map(|host| (host.id(), host.name.clone())).collect();
    let screen =
        Screen::enter().wrap_err("the console needs a terminal; see `pilothouse --help` for commands that do not")?;
    let mut state = State::new(known, Arc::new(settings.keymap), screen.size(), now());
    state.ends_with_it =
        std::env::var(ENDS_WITH_IT).ok().map(|text| one_line(&text, 400)).filter(|text| !text.is_empty());
    state.copy = Hosts::load().map(|hosts| hosts.copy()).unwrap_or_default();
    state.bell = settings.bell;
    let news = settings.problems.into_iter().map(|(kind, text)| Report::Notice(kind, text)).collect();
    update(&mut state, Action::Reports(news), now());
    let drafts = drafts::Folder::of_user();
    if let Some(folder) = &drafts {
        update(&mut state, Action::Reports(folder.load(&hosts)), now());
    }
    Runtime::new(hosts, state, (settings.theme, settings.alerts), drafts).run(screen).await
}
