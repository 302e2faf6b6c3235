//! How each connection to a guest begins.

use std::{
    io,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use pilothouse_proto::{
    greet::{framed, receive, send},
    guest::v1::{
        HandshakeAnswer, HandshakeClock, HandshakeRequest, HandshakeResponse, guest_client::GuestClient,
        handshake_answer::Answer,
    },
    link::PROTOCOL,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tonic::transport::Channel;

/// Longest time for a guest to answer the handshake.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest reason of a guest that is passed on, in bytes.
pub(super) const WHY_MAX: usize = 1024;
const NO_ANSWER: &str = "no answer to the handshake";
/// What may be the matter with a guest that answers something else.
const OLDER: &str = "one that an earlier Pilothouse suspended does not know how, and is to be restarted";
/// Bytes of entropy that a guest is given.
const ENTROPY: usize = 64;

/// Identity that a guest is given by the handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Id of the session or of the build.
    pub session_id: String,
    /// Slug of the session, which becomes the guest's hostname.
    pub slug: String,
    /// Machine id of the guest: 32 lower-case hex digits.
    pub machine_id: String,
    /// Number of the VM's life: one higher after each start, resume or clone.
    pub generation: u64,
}

impl Identity {
    /// Of something whose VMs all have the same machine id, which nothing else has.
    pub(crate) fn lasting(id: &str, slug: String, generation: u64) -> Self {
        let machine_id = blake3::hash(format!("machine-id {id}").as_bytes()).to_hex()[..32].to_owned();
        Self { session_id: id.into(), slug, machine_id, generation }
    }

    /// Identity of a VM that lives once, for something that is no session.
    ///
    /// # Errors
    /// A text for people, where the system has no random bytes.
    pub(crate) fn passing(id: String, slug: String, generation: u64) -> Result<Self, String> {
        let mut machine_id = [0_u8; 16];
        getrandom::fill(&mut machine_id).map_err(|error| format!("no random bytes: {error}"))?;
        let machine_id = machine_id.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { session_id: id, slug, machine_id, generation })
    }
}

/// The bytes of the handshake that stand behind the preamble. `stay_frozen`: frozen processes stay frozen.
pub(super) fn hand(identity: &Identity, stay_frozen: bool) -> io::Result<Vec<u8>> {
    framed(&request(identity, stay_frozen).map_err(io::Error::other)?)
}

/// Reads the answer to the handshake, and gives the guest the time where it asks for it; an error is a text for people.
pub(super) async fn shaken(io: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<HandshakeResponse, String> {
    let answered = async {
        let answer: HandshakeAnswer = receive(io).await?;
        if answer.asks_clock {
            send(io, &HandshakeClock { unix_nanos: unix_nanos() }).await?;
        }
        io::Result::Ok(answer.answer)
    };
    let answer = timeout(TIMEOUT, answered).await.map_err(|_| NO_ANSWER.to_string())?;
    match answer.map_err(|error| format!("the guest did not shake hands: {error}; {OLDER}"))? {
        Some(Answer::Shaken(answer)) => checked(answer),
        Some(Answer::Refused(why)) => Err(refused(&why)),
        None => Err(NO_ANSWER.into()),
    }
}

/// Shakes hands once more; an error is a text for people.
pub(super) async fn again(client: &mut GuestClient<Channel>, identity: &Identity) -> Result<(), String> {
    let answer =
        timeout(TIMEOUT, client.handshake(request(identity, false)?)).await.map_err(|_| NO_ANSWER.to_string())?;
    checked(answer.map_err(|status| refused(status.message()))?.into_inner()).map(drop)
}

fn request(identity: &Identity, stay_frozen: bool) -> Result<HandshakeRequest, String> {
    let mut entropy = vec![0; ENTROPY];
    getrandom::fill(&mut entropy).map_err(|e| format!("no entropy for the guest: {e}"))?;
    Ok(HandshakeRequest {
        protocol: PROTOCOL,
        session_id: identity.session_id.clone(),
        slug: identity.slug.clone(),
        machine_id: identity.machine_id.clone(),
        generation: identity.generation,
        unix_nanos: unix_nanos(),
        entropy: Bytes::from(entropy),
        stay_frozen,
    })
}

fn refused(why: &str) -> String {
    format!("the guest refused the handshake: {}", hostd_core::text::clean(why, WHY_MAX))
}

fn checked(answer: HandshakeResponse) -> Result<HandshakeResponse, String> {
    if answer.protocol != PROTOCOL {
        return Err(format!(
            "the guest speaks version {} of the link's protocol, this hostd version {PROTOCOL}; \
             put the pilothouse-guest-static of this hostd beside it, and restart the session",
            answer.protocol
        ));
    }
    Ok(answer)
}

fn unix_nanos() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
