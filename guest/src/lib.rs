//! What runs inside a Pilothouse microVM: PID 1, the supervisor of the agent, and the `session` command, in one static binary.
//!
//! ```text
//!  init (PID 1, reaps) ── fork ──▶ supervisor (tokio)
//!                                   ├─ link:    guest.v1.Guest served on the port pilothouse.link
//!                                   ├─ tunnel:  guest.v1.Gateway called on the port pilothouse.tunnel
//!                                   ├─ proxy:   127.0.0.1:3128, each connection one Tunnel stream
//!                                   ├─ direct:  everywhere else, each connection one Tunnel stream; the resolver
//!                                   ├─ session_socket: /run/pilothouse/session.sock, what the `session` command talks to
//!                                   └─ agent and exec'd commands, in cgroups of their own
//! ```
//!
//! Everything but [`init`] and [`machine`] runs anywhere, so most tests need no VM.

pub mod agent;
mod boot_log;
pub mod command;
mod conversation_file;
mod conversations;
mod copy_command;
mod descriptor;
pub mod direct;
pub mod environment;
pub mod events;
pub mod folder;
mod hook_command;
pub mod hooks;
mod host_requests;
pub mod identity_file;
pub mod init;
pub mod link;
pub mod machine;
pub mod modprobe;
pub mod process;
pub mod proxy;
mod rehearse_command;
pub mod ring;
mod selftest;
pub mod service;
pub mod session_protocol;
pub mod session_socket;
pub mod supervisor;
pub mod tunnel;
pub mod typing;
pub mod user;
pub mod waits;
pub mod wire;
