//! hostd as a service of systemd: its unit, how it is installed, replaced by a newer one and removed, and what it says to systemd
//! while it runs.

mod files;
mod install;
mod kill_mode;
mod list;
mod notify;
mod place;
mod plan;
mod unit;
mod upgrade;

pub use install::{install, uninstall};
pub(crate) use kill_mode::{KillMode, of_holder, of_this_process};
pub(crate) use notify::Notify;
pub use place::{Place, Scope};
pub use plan::{Ask, Plan, Step};
pub use upgrade::upgrade;

/// Name of the unit.
pub const UNIT: &str = "hostd.service";
