//! Why a call to a host did not work.

use std::{error::Error, fmt, io};

use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{HostAddress, ssh::SshError};
use crate::foreign::plain_lines;

/// Why a call to a host did not work, in words for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CallError {
    /// Code and machine-readable reason of the host's answer; None: the host was not reached, or went away.
    pub(crate) answer: Option<(Code, String)>,
    /// What went wrong.
    pub(crate) message: String,
    /// What a person can do about it, one line each.
    pub(crate) hints: Vec<String>,
}

impl CallError {
    /// What the status of a call says: what the host answered, or that it did not.
    pub(crate) fn of(host: &HostAddress, status: &Status) -> Self {
        if is_transport(status) {
            return Self::unreachable(host, status);
        }
        let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
        let message = plain_lines(status.message());
        let message = if message.trim().is_empty() { status.code().to_string() } else { message };
        // A host's messages say what to do themselves.
        Self { answer: Some((status.code(), reason)), message, hints: vec![] }
    }

    fn unreachable(host: &HostAddress, status: &Status) -> Self {
        let name = if host.is_nameless() { "the host".into() } else { format!("host {}", host.name) };
        let endpoint = &host.endpoint;
        let is_silent = cause::<hyper::Error>(status).is_some_and(hyper::Error::is_timeout);
        let (message, hint) = match cause::<io::Error>(status) {
            None if is_silent => (
                format!("{name} does not answer any more ({endpoint})"),
                "hostd is stopped or its machine is, or the network between is gone; what it runs may go on".into(),
            ),
            None => {
                {
                    // A stream does not tell its peer's end from its silence.
                    let hint =
                        "hostd has ended, or does not answer any more; `hostd serve` starts it where it does not run";
                    (format!("the connection to {name} broke ({endpoint})"), hint.into())
                }
            }
            Some(error) => (format!("{name} is out of reach: {endpoint}: {error}"), hint(error)),
        };
        Self { answer: None, message, hints: vec![hint] }
    }
}

/// Message and hints in one line.
impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message.trim_end())?;
        self.hints.iter().try_for_each(|hint| write!(f, "; {hint}"))
    }
}

fn hint(error: &io::Error) -> String {
    let ssh = error.get_ref().and_then(|error| error.downcast_ref::<SshError>());
    match (ssh, error.kind()) {
        (Some(ssh), _) => ssh.hint.clone(),
        (None, io::ErrorKind::PermissionDenied) => "the socket belongs to another user".into(),
        (None, _) => "is hostd running? start it with `hostd serve`".into(),
    }
}

/// Whether the call broke on its way, other than by an answer of the host.
fn is_transport(status: &Status) -> bool {
    // A status that came over the wire has no source.
    status.source().is_some() && !matches!(status.code(), Code::Cancelled)
}

fn cause<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = error.source();
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Endpoint;

    #[test]
    fn messages_of_a_host_cannot_write_to_the_terminal() {
        let host = HostAddress { name: "near".into(), endpoint: "unix:/run/hostd.sock".parse().unwrap() };
        let error = CallError::of(&host, &Status::internal("a\x1b[2Jb\nc\x07"));
        assert_eq!(error.to_string(), "a[2Jb\nc");
        assert_eq!(error.answer, Some((Code::Internal, String::new())));
    }

    #[tokio::test]
    async fn a_missing_socket_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("hostd.sock");
        let address = HostAddress { name: "near".into(), endpoint: Endpoint::Unix(socket.clone()) };
        let mut client = pilothouse_proto::hostd::v1::host_client::HostClient::new(address.channel());
        let status = client.get(pilothouse_proto::hostd::v1::GetHostRequest {}).await.unwrap_err();
        let error = CallError::of(&address, &status);
        assert_eq!(error.answer, None);
        let reach = format!("host near is out of reach: unix:{}: No such file", socket.display());
        assert!(error.message.starts_with(&reach), "{error:?}");
        assert_eq!(error.hints, ["is hostd running? start it with `hostd serve`"]);
    }
}
