use std::{fs, sync::PoisonError};

use pilothouse_proto::{
    guest::v1::{HandshakeRequest, HandshakeResponse},
    link::PROTOCOL,
};
use rustix::system::uname;
use tonic::Status;

use super::Guest;
use crate::init::step;

/// Bytes of entropy that a handshake brings.
const ENTROPY: std::ops::RangeInclusive<usize> = 32..=512;

pub(super) async fn shake(guest: &Guest, request: HandshakeRequest) -> Result<HandshakeResponse, Status> {
    check(&request)?;
    let machine = guest.0.machine.clone();
    let fresh = guest.generation() != Some(request.generation);
    let generation = request.generation;
    let done = tokio::task::spawn_blocking(move || {
        // Names and random numbers are new before anybody runs who could use the old ones.
        if fresh {
            machine.adopt(&request)?;
        }
        machine.freeze(false)
    });
    done.await
        .map_err(|error| Status::internal(error.to_string()))?
        .map_err(|error| Status::internal(format!("the guest could not take on its identity: {error}")))?;
    guest.set_generation(generation);
    Ok(answer(guest))
}

fn answer(guest: &Guest) -> HandshakeResponse {
    let mut boot = guest.0.boot.lock().unwrap_or_else(PoisonError::into_inner);
    if !boot.iter().any(|step| step.name == "link") {
        boot.push(step("link"));
    }
    let (terminal_start, terminal_end) = guest.0.agent.offsets();
    HandshakeResponse {
        protocol: PROTOCOL,
        version: env!("CARGO_PKG_VERSION").into(),
        boot_id: fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().into(),
        kernel: uname().release().to_string_lossy().into_owned(),
        agent: Some(guest.0.agent.proto()),
        terminal_start,
        terminal_end,
        boot: boot.clone(),
    }
}

impl Guest {
    fn generation(&self) -> Option<u64> {
        *self.0.generation.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_generation(&self, generation: u64) {
        *self.0.generation.lock().unwrap_or_else(PoisonError::into_inner) = Some(generation);
    }
}

fn check(request: &HandshakeRequest) -> Result<(), Status> {
    let hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
    let wrong = if request.protocol != PROTOCOL {
        format!("this guest speaks version {PROTOCOL} of the protocol, the host version {}", request.protocol)
    } else if !is_hostname(&request.slug) {
        format!("{:?} is no hostname: 1 to 63 letters, digits and dashes", request.slug)
    } else if request.machine_id.len() != 32 || !request.machine_id.bytes().all(hex) {
        "a machine id has 32 lower-case hex digits".into()
    } else if !ENTROPY.contains(&request.entropy.len()) {
        format!("{} to {} bytes of entropy are needed", ENTROPY.start(), ENTROPY.end())
    } else {
        return Ok(());
    };
    Err(Status::failed_precondition(wrong))
}

fn is_hostname(slug: &str) -> bool {
    (1..=63).contains(&slug.len())
        && slug.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
        && !slug.starts_with('-')
        && !slug.ends_with('-')
}
