//! The console.

use color_eyre::eyre::bail;

use crate::client::HostAddress;

/// Runs the console on these hosts until the user leaves it.
///
/// # Errors
/// When there is no terminal to draw on, or it breaks.
pub(crate) async fn run(hosts: Vec<HostAddress>) -> color_eyre::Result<()> {
    let _ = hosts;
    bail!("the console is not built yet; see `pilothouse --help` for the command line")
}
