//! What went wrong, in one line with hints, and the exit code for it.

use std::{io, process::ExitCode};

use tonic::{Code, Status};

use super::format::plain;
use crate::client::{CallError, ConfigError, HostAddress};

/// The exit code of a command that did what it was asked, or why it did not.
pub(crate) type Outcome = Result<u8, Failure>;

/// Exit code of a command that failed.
pub(crate) const FAILED: u8 = 1;
/// Exit code of a command that was asked for wrongly.
pub(crate) const USAGE: u8 = 2;
/// Exit code of a command that names what does not exist.
pub(crate) const NOT_FOUND: u8 = 3;
/// Exit code of a command that may not be carried out, or not now.
pub(crate) const DENIED: u8 = 4;
/// Exit code of a command that got no answer from a host.
pub(crate) const UNREACHABLE: u8 = 5;

/// Why a command did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Exit code of this program.
    pub(crate) exit: u8,
    /// What went wrong, in words for a person; empty: nothing is said.
    pub(crate) message: String,
    /// What a person can do about it, one line each.
    pub(crate) hints: Vec<String>,
}

impl Failure {
    /// Creates a failure with this exit code and message.
    pub(crate) fn new(exit: u8, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hints: Vec::new() }
    }

    /// Creates a failure with exit code [`FAILED`].
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(FAILED, message)
    }

    /// Creates a failure with exit code [`USAGE`].
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(USAGE, message)
    }

    /// Creates a failure that says nothing, because everything was said or nobody listens.
    pub(crate) fn quiet(exit: u8) -> Self {
        Self::new(exit, "")
    }

    /// Adds a line that says what to do.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Converts the status of a call: what the host answered, or that it did not.
    pub(crate) fn from_status(host: &HostAddress, status: &Status) -> Self {
        let CallError { answer, message, hints } = CallError::of(host, status);
        let exit = answer.map_or(UNREACHABLE, |(code, reason)| exit_code(code, &reason));
        Self { exit, message, hints }
    }

    /// Prints the failure on stderr, and returns its exit code.
    pub(crate) fn report(&self) -> ExitCode {
        use io::Write;
        // Nobody to tell where stderr is gone; the exit code says it still.
        let mut stderr = io::stderr().lock();
        if !self.message.is_empty() {
            let _ = writeln!(stderr, "error: {}", self.message.trim_end());
        }
        for hint in &self.hints {
            let _ = writeln!(stderr, "hint: {}", plain(hint));
        }
        ExitCode::from(self.exit)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::usage(plain(&error.to_string()))
    }
}

/// Exit code for a status: the machine-readable reason decides where it is more exact than the code.
fn exit_code(code: Code, reason: &str) -> u8 {
    match (reason, code) {
        // It is not the host that went away.
        ("BUILD_FAILED" | "GUEST_GONE", _) => FAILED,
        ("BAD_RECIPE" | "ID_AMBIGUOUS", _) | (_, Code::InvalidArgument) => USAGE,
        (_, Code::NotFound) => NOT_FOUND,
        (_, Code::PermissionDenied | Code::Unauthenticated | Code::FailedPrecondition | Code::ResourceExhausted) => {
            DENIED
        }
        (_, Code::Unavailable | Code::DeadlineExceeded) => UNREACHABLE,
        _ => FAILED,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use tonic_types::{ErrorDetails, StatusExt as _};

    use super::*;
    use crate::client::Endpoint;

    fn host(name: &str) -> HostAddress {
        HostAddress { name: name.into(), endpoint: "unix:/run/hostd.sock".parse().unwrap() }
    }

    #[rstest]
    #[case(Code::NotFound, 3)]
    #[case(Code::PermissionDenied, 4)]
    #[case(Code::Unauthenticated, 4)]
    #[case(Code::FailedPrecondition, 4)]
    #[case(Code::ResourceExhausted, 4)]
    #[case(Code::Unavailable, 5)]
    #[case(Code::DeadlineExceeded, 5)]
    #[case(Code::InvalidArgument, 2)]
    #[case(Code::Internal, 1)]
    #[case(Code::Unknown, 1)]
    #[case(Code::Aborted, 1)]
    #[case(Code::Unimplemented, 1)]
    fn codes_become_exit_codes(#[case] code: Code, #[case] exit: u8) {
        let failure = Failure::from_status(&host("near"), &Status::new(code, "what"));
        assert_eq!(failure, Failure::new(exit, "what"));
    }

    #[rstest]
    #[case("BUILD_FAILED", Code::FailedPrecondition, 1)]
    #[case("GUEST_GONE", Code::Unavailable, 1)]
    #[case("BAD_RECIPE", Code::FailedPrecondition, 2)]
    #[case("ID_AMBIGUOUS", Code::FailedPrecondition, 2)]
    #[case("SESSION_NOT_FOUND", Code::NotFound, 3)]
    #[case("TOO_LARGE", Code::FailedPrecondition, 4)]
    #[case("NOT_SUSPENDED", Code::Aborted, 1)]
    fn reasons_decide(#[case] reason: &str, #[case] code: Code, #[case] exit: u8) {
        let details = ErrorDetails::with_error_info(reason, "pilothouse", std::collections::HashMap::new());
        let status = Status::with_error_details(code, "what", details);
        assert_eq!(Failure::from_status(&host("near"), &status).exit, exit);
    }

    #[tokio::test]
    async fn a_host_out_of_reach_has_an_exit_code_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let address = HostAddress { name: "near".into(), endpoint: Endpoint::Unix(folder.path().join("hostd.sock")) };
        let mut client = pilothouse_proto::hostd::v1::host_client::HostClient::new(address.channel());
        let status = client.get(pilothouse_proto::hostd::v1::GetHostRequest {}).await.unwrap_err();
        let failure = Failure::from_status(&address, &status);
        assert_eq!((failure.exit, failure.hints.len()), (UNREACHABLE, 1));
    }
}
