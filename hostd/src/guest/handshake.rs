//! How each connection to a guest begins.

use std::{
    collections::BTreeMap,
    io,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use pilothouse_proto::{
    greet::{framed, receive, send},
    guest::v1::{
        AnswerRequest, FirstOutput, HandshakeAnswer, HandshakeClock, HandshakeRequest, HandshakeResponse,
        TerminalResponse, Trust as GuestTrust, guest_client::GuestClient, handshake_answer::Answer,
    },
    link::PROTOCOL,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
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
const NOTHING_SHOWN: &str = "the guest shook hands, and did not say what its agent shows";
/// Longest time, in milliseconds, that a guest waits for what its agent shows before it does anything else. An emulated one takes
/// about a hundred for an agent that goes on at once.
const SHOWN_WITHIN: u32 = 250;
/// Most bytes of JSON of an answer that goes with the handshake.
const ANSWER_MAX: usize = 32 << 10;

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
    /// Whom the guest trusts beside the usual; None: what it was told before stays as it is.
    pub trust: Option<Trust>,
}

/// Whom a guest trusts, and what its programs find for that. All of it may be seen in the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// Certificate of the session's authority, as PEM.
    pub certificate: String,
    /// Stand-ins for secrets, by name of their variable.
    pub variables: BTreeMap<String, String>,
}

impl Identity {
    /// Of something whose VMs all have the same machine id, which nothing else has.
    pub(crate) fn lasting(id: &str, slug: String, generation: u64) -> Self {
        let machine_id = blake3::hash(format!("machine-id {id}").as_bytes()).to_hex()[..32].to_owned();
        Self { session_id: id.into(), slug, machine_id, generation, trust: None }
    }

    /// Identity of a VM that lives once, for something that is no session.
    ///
    /// # Errors
    /// A text for people, where the system has no random bytes.
    pub(crate) fn passing(id: String, slug: String, generation: u64) -> Result<Self, String> {
        let mut machine_id = [0_u8; 16];
        getrandom::fill(&mut machine_id).map_err(|error| format!("no random bytes: {error}"))?;
        let machine_id = machine_id.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { session_id: id, slug, machine_id, generation, trust: None })
    }

    /// The same, where the guest also trusts this.
    #[must_use]
    pub fn trusting(self, trust: Option<Trust>) -> Self {
        Self { trust, ..self }
    }
}

/// What a guest is told by the handshake.
#[derive(Clone, Debug)]
pub struct Greeting {
    identity: Identity,
    /// Whether frozen processes stay frozen.
    stay_frozen: bool,
    /// Answer to a wait of its agent.
    answer: Option<AnswerRequest>,
    /// What is wanted of its agent's output ahead of HTTP/2.
    first_output: Option<FirstOutput>,
    /// Cancelled when the guest has done what goes before its tunnel.
    tunnel_after: CancellationToken,
}

impl Greeting {
    /// A greeting for a copy of a VM, in which frozen processes stay frozen.
    #[must_use]
    pub fn copy(identity: Identity) -> Self {
        Self { stay_frozen: true, ..identity.into() }
    }

    /// The same greeting, with an answer to a wait of the guest's agent. An answer that is too long for a handshake is left out.
    #[must_use]
    pub fn answering(self, answer: Option<AnswerRequest>) -> Self {
        Self { answer: answer.filter(|answer| answer.json.len() <= ANSWER_MAX), ..self }
    }

    /// Whether an answer goes along.
    #[must_use]
    pub fn brings_answer(&self) -> bool {
        self.answer.is_some()
    }

    /// The same greeting, where the guest's agent is about to say something: the guest sends that first, from this offset of the
    /// agent's output on, and does all else after it or after a moment in which the agent says nothing.
    #[must_use]
    pub fn showing_from(self, offset: Option<u64>) -> Self {
        Self { first_output: offset.map(|offset| FirstOutput { offset, within_millis: SHOWN_WITHIN }), ..self }
    }

    /// The same greeting for the guest's next connection: its agent has run on.
    pub(super) fn has_run_on(&mut self) {
        self.first_output = None;
    }

    /// The same greeting, where the guest's tunnel port is connected only when this is cancelled.
    #[must_use]
    pub fn tunnel_after(self, tunnel_after: CancellationToken) -> Self {
        Self { tunnel_after, ..self }
    }

    /// Waits until the guest's tunnel port may be connected.
    pub(super) fn before_tunnel(&self) -> WaitForCancellationFutureOwned {
        self.tunnel_after.clone().cancelled_owned()
    }

    /// Who the guest is from now on.
    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The bytes of the handshake that stand behind the preamble.
    pub(super) fn bytes(&self) -> io::Result<Vec<u8>> {
        let mut request = request(&self.identity).map_err(io::Error::other)?;
        (request.stay_frozen, request.answer) = (self.stay_frozen, self.answer.clone());
        request.first_output = self.first_output;
        framed(&request)
    }
}

impl From<Identity> for Greeting {
    fn from(identity: Identity) -> Self {
        let tunnel_after = CancellationToken::new();
        tunnel_after.cancel();
        Self { identity, stay_frozen: false, answer: None, first_output: None, tunnel_after }
    }
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

/// Reads what the guest's agent shows ahead of HTTP/2, where the greeting asks for it and the guest has said that it follows; an
/// error is a text for people.
pub(super) async fn first_output(
    io: &mut (impl AsyncRead + Unpin),
    greeting: &Greeting,
    shaken: &HandshakeResponse,
) -> Result<Option<TerminalResponse>, String> {
    if greeting.first_output.is_none() || !shaken.first_output {
        return Ok(None);
    }
    let shown = timeout(TIMEOUT, receive(io)).await.map_err(|_| NOTHING_SHOWN.to_string())?;
    shown.map(Some).map_err(|error| format!("{NOTHING_SHOWN}: {error}"))
}

/// Shakes hands once more; an error is a text for people.
pub(super) async fn again(client: &mut GuestClient<Channel>, identity: &Identity) -> Result<(), String> {
    let answer = timeout(TIMEOUT, client.handshake(request(identity)?)).await.map_err(|_| NO_ANSWER.to_string())?;
    checked(answer.map_err(|status| refused(status.message()))?.into_inner()).map(drop)
}

fn request(identity: &Identity) -> Result<HandshakeRequest, String> {
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
        stay_frozen: false,
        answer: None,
        first_output: None,
        trust: identity.trust.clone().map(|Trust { certificate, variables }| GuestTrust {
            certificate,
            variables: variables.into_iter().collect(),
        }),
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
