use std::{io, sync::PoisonError};

use pilothouse_proto::{
    guest::v1::{HandshakeRequest, HandshakeResponse},
    link::PROTOCOL,
};
use tonic::Status;

use super::Guest;
use crate::{init::step, who::Who};

/// Bytes of entropy that a handshake brings.
const ENTROPY: std::ops::RangeInclusive<usize> = 32..=512;

pub(super) async fn shake(guest: &Guest, request: HandshakeRequest) -> Result<HandshakeResponse, Status> {
    check(&request)?;
    let life = (request.session_id.clone(), request.generation);
    let before = guest.life();
    if before.as_ref() != Some(&life) {
        guest.0.agent.rename(&Who::of(&request));
    }
    let freeze = guest.freeze_number();
    // The same session that goes on has nothing to write, and waits for this: a thread would cost more than all of it.
    let adopted = if before.as_ref().is_some_and(|(session, _)| *session == life.0) {
        adopt(guest, before.as_ref() != Some(&life), freeze, &request)
    } else {
        let guest = guest.clone();
        let adopted = tokio::task::spawn_blocking(move || adopt(&guest, true, freeze, &request));
        adopted.await.map_err(|error| Status::internal(error.to_string()))?
    };
    adopted.map_err(|error| Status::internal(format!("the guest could not take on its identity: {error}")))?;
    guest.set_life(life);
    Ok(answer(guest))
}

/// Names and random numbers are new before anybody runs who could use the old ones. Blocks.
fn adopt(guest: &Guest, fresh: bool, freeze: u64, request: &HandshakeRequest) -> io::Result<()> {
    if fresh {
        guest.0.machine.adopt(request)?;
    } else if freeze != 0 {
        guest.0.machine.set_clock(request.unix_nanos)?;
    }
    if request.stay_frozen { Ok(()) } else { guest.thaw(freeze) }
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
        boot_id: guest.0.boot_id.clone(),
        kernel: guest.0.kernel.clone(),
        agent: Some(guest.0.agent.proto()),
        terminal_start,
        terminal_end,
        boot: boot.clone(),
    }
}

impl Guest {
    fn life(&self) -> Option<(String, u64)> {
        self.0.life.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_life(&self, life: (String, u64)) {
        *self.0.life.lock().unwrap_or_else(PoisonError::into_inner) = Some(life);
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
