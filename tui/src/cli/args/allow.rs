//! Arguments of `allow`.

use clap::Args;

use crate::cli::complete;

/// Arguments of `pilothouse allow`.
#[derive(Debug, Args)]
#[command(
    after_help = "A destination is HOST:PORT, or *.DOMAIN:PORT for all names below a domain; without a port, 443 is meant.
Without a destination, it is printed what the session was refused, and what it was allowed.

Examples:
  pilothouse allow fix-parser
  pilothouse allow fix-parser registry.npmjs.org
  pilothouse allow fix-parser db.lan:5432 --private
      a service of the host or its network, which `local` in egress.toml of hostd's data folder has to name as well
  pilothouse allow fix-parser registry.npmjs.org --recipe
      for this session, and for those of its environment that are yet to come
  pilothouse allow fix-parser registry.npmjs.org --remove
      what was allowed so is taken back; connections that are open stay"
)]
pub(crate) struct Allow {
    /// Session: its slug, its id, or a unique prefix of either
    #[arg(value_name = "SESSION", add = complete::sessions())]
    pub(crate) id: String,
    /// Destination that the session may reach from now on, beside those of its recipe
    #[arg(value_name = "HOST[:PORT]")]
    pub(crate) destination: Option<String>,
    /// Also where it lies at a private address, or is the host's own loopback: as far as the host's egress.toml names it
    #[arg(long, requires = "destination")]
    pub(crate) private: bool,
    /// Take back what was allowed so
    #[arg(long, requires = "destination", conflicts_with_all = ["private", "recipe"])]
    pub(crate) remove: bool,
    /// Write it into the registered recipe of the session's environment as well
    #[arg(long, requires = "destination")]
    pub(crate) recipe: bool,
    /// Print what was done, and the session, as JSON
    #[arg(long)]
    pub(crate) json: bool,
}
