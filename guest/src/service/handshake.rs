//! How each connection of the host begins: a new life, or the same that goes on.

use std::{
    io,
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

use pilothouse_proto::{
    guest::v1::{AnswerRequest, AnswerResponse, FirstOutput, HandshakeRequest, HandshakeResponse, Trust},
    link::PROTOCOL,
};
use tonic::Status;

use super::guest::Guest;
use crate::{boot_log::step, identity_file::IdentityFile};

/// Numbers of bytes of entropy that a handshake may bring.
const ENTROPY: std::ops::RangeInclusive<usize> = 32..=512;

/// Longest certificate of an authority, in bytes.
const CERTIFICATE: usize = 8 << 10;

/// What a handshake leaves to do, once it is answered: the host need not wait for it, and programs run on at its end alone.
pub(crate) struct Left {
    identity: HandshakeRequest,
    /// Whether the life is a new one.
    fresh: bool,
    /// Number of the freeze that ends, unless it is to stay.
    freeze: u64,
}

impl Left {
    /// Whether the host is asked for the time: the clock was stepped, and nobody knows how long the time was on its way.
    pub(crate) fn asks_clock(&self) -> bool {
        self.fresh || self.freeze != 0
    }

    /// What the host wants of the agent's output ahead of HTTP/2.
    pub(crate) fn first_output(&self) -> Option<FirstOutput> {
        self.identity.first_output.filter(|_| !self.identity.stay_frozen)
    }
}

impl Guest {
    /// Takes on clock, random numbers and names: they are new before anybody runs who could use the old ones. An answer that
    /// comes along is there when its wait runs on.
    pub(crate) async fn take_on(&self, mut request: HandshakeRequest) -> Result<(HandshakeResponse, Left), Status> {
        check(&request)?;
        let due = request.answer.take();
        let (same, fresh) = match &*self.life() {
            Some((session, generation)) if *session == request.session_id => (true, *generation != request.generation),
            _ => (false, true),
        };
        let freeze = self.freeze_number();
        // The same session that goes on has nothing to write, and waits for this: a thread would cost more than all of it.
        let adopted = if !fresh {
            if freeze == 0 { Ok(()) } else { self.0.machine.set_clock(request.unix_nanos) }
        } else if same {
            self.0.machine.adopt(&request)
        } else {
            let (machine, request) = (self.0.machine.clone(), request.clone());
            let adopted = tokio::task::spawn_blocking(move || machine.adopt(&request));
            adopted.await.map_err(|error| Status::internal(error.to_string()))?
        };
        adopted.map_err(|error| Status::internal(format!("the guest could not take on its identity: {error}")))?;
        if fresh && let Some(trust) = request.trust.take() {
            self.trust(trust).await?;
        }
        let answered =
            due.map(|AnswerRequest { wait, json }| AnswerResponse { known: self.0.waits.answer(wait, json) });
        let left = Left { identity: request, fresh, freeze };
        let first_output = left.first_output().is_some();
        Ok((HandshakeResponse { answered, first_output, ..answer(self) }, left))
    }

    /// Steps the clock to what the host said within this time up to now: it is taken to be from the middle of that.
    ///
    /// # Errors
    /// It could not be set.
    pub(crate) fn set_clock(&self, unix_nanos: i64, within: Duration) -> io::Result<()> {
        let since = i64::try_from(within.as_nanos() / 2).unwrap_or(i64::MAX);
        self.0.machine.set_clock(unix_nanos.saturating_add(since))
    }

    /// Does what is left, and lets programs run. Blocks, for a moment.
    ///
    /// # Errors
    /// They do not: what was frozen does not thaw.
    pub(crate) fn go_on(&self, left: Left) -> io::Result<()> {
        if left.fresh {
            let identity = IdentityFile::of(&left.identity);
            self.0.agent.rename(&identity);
            self.0.machine.write_identity(&identity);
            *self.life() = Some((left.identity.session_id, left.identity.generation));
        }
        if left.identity.stay_frozen { Ok(()) } else { self.thaw(left.freeze) }
    }

    /// Trusts what the host says, and has programs find it: before any of them runs on.
    async fn trust(&self, trust: Trust) -> Result<(), Status> {
        let machine = self.0.machine.clone();
        let found = tokio::task::spawn_blocking(move || machine.trust(&trust)).await;
        let found = found.map_err(|error| Status::internal(error.to_string()))?;
        *self.0.variables.lock().unwrap_or_else(PoisonError::into_inner) = found;
        Ok(())
    }

    /// Session and generation of the life that was last taken on.
    fn life(&self) -> MutexGuard<'_, Option<(String, u64)>> {
        self.0.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does all of a handshake, and then answers.
pub(super) async fn shake(guest: &Guest, request: HandshakeRequest) -> Result<HandshakeResponse, Status> {
    let (response, left) = guest.take_on(request).await?;
    guest.go_on(left).map_err(|error| Status::internal(format!("what was frozen does not thaw: {error}")))?;
    Ok(response)
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
        answered: None,
        first_output: false,
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
    } else if request.trust.as_ref().is_some_and(|trust| trust.certificate.len() > CERTIFICATE) {
        format!("a certificate has at most {CERTIFICATE} bytes")
    } else {
        return request.trust.as_ref().map_or(Ok(()), |trust| super::check::environment(&trust.variables));
    };
    Err(Status::failed_precondition(wrong))
}

fn is_hostname(slug: &str) -> bool {
    (1..=63).contains(&slug.len())
        && slug.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
        && !slug.starts_with('-')
        && !slug.ends_with('-')
}
