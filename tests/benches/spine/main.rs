//! Figures of the spine, each beside a peer measured in the same run: `cargo bench -p tests`.
//!
//! Bare times say more of the machine than of the code, so what counts is the ratio. No test asserts any of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod boot;
mod echo;
mod link;
mod ssh;
mod status;
mod table;

use tests::Host;
use tokio::runtime::Runtime;

fn main() {
    let host = Host::start();
    let machine = host.cli(["host", "show", "--json"]).json();
    println!(
        "QEMU {}, accelerator {} ({})\n",
        machine["qemu_version"].as_str().unwrap_or("?"),
        machine["accelerator"].as_str().unwrap_or("?").to_uppercase(),
        machine["accelerator_reason"].as_str().unwrap_or("?")
    );
    let runtime = Runtime::new().unwrap();
    boot::measure();
    runtime.block_on(link::measure(&host));
    echo::measure(&runtime, &host);
    status::measure(&runtime, &host);
}
