//! Errors on the wire: a code, a message for people, and a machine-readable reason.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{
    diff::DiffError,
    environments::EnvironmentError,
    forge::{ForgeError, StorageError},
    sessions::FleetError,
    store::StoreError,
};

/// Domain of every error's reason.
const DOMAIN: &str = "pilothouse";
/// Longest message, in bytes: it travels twice in HTTP/2 headers, of which clients take 16 KiB.
const MESSAGE_MAX: usize = 3 << 10;

/// A status with its machine-readable reason, e.g. `SESSION_NOT_FOUND`.
pub(super) fn status(code: Code, reason: &str, message: impl Into<String>) -> Status {
    let details = ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new());
    Status::with_error_details(code, bounded(message.into()), details)
}

/// The status of a request that is wrong in itself.
pub(super) fn invalid(message: impl Into<String>) -> Status {
    status(Code::InvalidArgument, "INVALID", message)
}

/// What a guest answered instead of doing what it was asked; its text is foreign.
pub(super) fn guest(error: &Status) -> Status {
    let text = hostd_core::text::clean(error.message(), 1024);
    match error.code() {
        Code::InvalidArgument | Code::NotFound | Code::FailedPrecondition | Code::ResourceExhausted => {
            status(error.code(), "GUEST_REFUSED", text)
        }
        Code::Cancelled => status(Code::Cancelled, "CANCELLED", "the call was cancelled"),
        // Not Unavailable, which is what clients understand as a host out of reach.
        _ => {
            tracing::debug!(text, "a call to a guest ended early");
            status(
                Code::Aborted,
                "GUEST_GONE",
                "the session's VM ended meanwhile, or the connection to its guest broke",
            )
        }
    }
}

/// The status of a call that ends because hostd stops.
pub(super) fn stopping() -> Status {
    status(Code::Unavailable, "STOPPING", "hostd is stopping; connect again when it is back")
}

/// Cuts a long message in its middle: builds say what went wrong at the end.
fn bounded(message: String) -> String {
    if message.len() <= MESSAGE_MAX {
        return message;
    }
    let boundary = |from: usize| (from..).find(|&at| message.is_char_boundary(at)).unwrap_or(message.len());
    let (head, tail) = (boundary(MESSAGE_MAX / 4), boundary(message.len() - MESSAGE_MAX / 2));
    format!("{}\n[...]\n{}", &message[..head], &message[tail..])
}

impl From<FleetError> for Status {
    fn from(error: FleetError) -> Self {
        let (code, reason) = match &error {
            FleetError::NotFound(_) => (Code::NotFound, "SESSION_NOT_FOUND"),
            FleetError::Ambiguous { .. } => (Code::InvalidArgument, "ID_AMBIGUOUS"),
            FleetError::Invalid(_) => (Code::InvalidArgument, "INVALID"),
            FleetError::Denied(_) => (Code::FailedPrecondition, "DENIED"),
            FleetError::NotRunning(_) => (Code::FailedPrecondition, "NOT_RUNNING"),
            FleetError::HostNotReady(_) => (Code::FailedPrecondition, "HOST_NOT_READY"),
            FleetError::Drained(_) => (Code::FailedPrecondition, "HOST_DRAINED"),
            FleetError::NotDrained(_) => (Code::Internal, "NOT_DRAINED"),
            FleetError::TooLarge { .. } => (Code::ResourceExhausted, "TOO_LARGE"),
            FleetError::NoRoom(_) => (Code::ResourceExhausted, "NO_ROOM"),
            // Not FailedPrecondition: nobody forbids it, it went wrong.
            FleetError::NotSuspended(_) => (Code::Aborted, "NOT_SUSPENDED"),
            FleetError::NotRead(_) => (Code::Aborted, "NOT_READ"),
            FleetError::NotForked(_) => (Code::Internal, "NOT_FORKED"),
            FleetError::NotCheckpointed(_) => (Code::Aborted, "NOT_CHECKPOINTED"),
            FleetError::NotRestored(_) => (Code::Aborted, "NOT_RESTORED"),
            FleetError::NotRemoved(_) => (Code::Internal, "NOT_REMOVED"),
            FleetError::StandsStill(_) => (Code::Internal, "STANDS_STILL"),
            FleetError::Stopping => return stopping(),
            FleetError::Store(StoreError::Closed) => return stopping(),
            FleetError::Store(_) => (Code::Internal, "STORE"),
            FleetError::Environment(error) => return environment(error),
            FleetError::Diff(error) => return diff(error),
        };
        status(code, reason, error.to_string())
    }
}

/// Converts an error of an environment into a status.
pub(super) fn environment(error: &EnvironmentError) -> Status {
    let (code, reason) = match error {
        EnvironmentError::NotFound { .. } => (Code::NotFound, "ENVIRONMENT_NOT_FOUND"),
        EnvironmentError::NoBuild { .. } => (Code::FailedPrecondition, "NO_BUILD"),
        EnvironmentError::BadRecipe(_) => (Code::InvalidArgument, "BAD_RECIPE"),
        EnvironmentError::BuildFailed { .. } => (Code::FailedPrecondition, "BUILD_FAILED"),
        EnvironmentError::TooLarge { .. } => (Code::ResourceExhausted, "TOO_LARGE"),
        EnvironmentError::Vm(_) => (Code::FailedPrecondition, "HOST_NOT_READY"),
        EnvironmentError::File { .. } => (Code::Internal, "FILE"),
    };
    status(code, reason, error.to_string())
}

/// Converts an error of a difference into a status.
pub(super) fn diff(error: &DiffError) -> Status {
    let (code, reason) = match error {
        DiffError::NoRepository(_) => (Code::NotFound, "REPOSITORY_NOT_FOUND"),
        DiffError::NoRevision { .. } | DiffError::NoPullRevision { .. } | DiffError::NoMergeBase { .. } => {
            (Code::NotFound, "REVISION_NOT_FOUND")
        }
        DiffError::Invalid(_) => (Code::InvalidArgument, "INVALID"),
        DiffError::NothingToCompare => (Code::FailedPrecondition, "NO_REPOSITORY"),
        DiffError::WorkingTree(_) => (Code::Aborted, "WORKING_TREE"),
        DiffError::Busy => (Code::ResourceExhausted, "BUSY"),
        DiffError::Git(_) | DiffError::Failed(_) | DiffError::Malformed(_) => (Code::Internal, "GIT"),
    };
    status(code, reason, error.to_string())
}

/// Converts an error of the forge into a status.
pub(super) fn forge(error: ForgeError) -> Status {
    let (code, reason) = match &error {
        ForgeError::NoRepository { .. } => (Code::NotFound, "REPOSITORY_NOT_FOUND"),
        ForgeError::NoBranch { .. } | ForgeError::NoDefaultBranch { .. } => (Code::NotFound, "BRANCH_NOT_FOUND"),
        ForgeError::NoCommit { .. } => (Code::NotFound, "COMMIT_NOT_FOUND"),
        ForgeError::NoPull(_) => (Code::NotFound, "PULL_NOT_FOUND"),
        ForgeError::NoPlace(_) => (Code::NotFound, "PLACE_NOT_FOUND"),
        ForgeError::Invalid(_) => (Code::InvalidArgument, "INVALID"),
        ForgeError::Refused(_) => (Code::FailedPrecondition, "REFUSED"),
        ForgeError::NotMergeable(_) => (Code::FailedPrecondition, "NOT_MERGEABLE"),
        ForgeError::Conflicts { .. } => (Code::FailedPrecondition, "CONFLICTS"),
        // Not FailedPrecondition: nobody forbids it, it went wrong.
        ForgeError::NotImported(_) => (Code::Aborted, "NOT_IMPORTED"),
        ForgeError::NotFetched(_) => (Code::Aborted, "NOT_FETCHED"),
        ForgeError::NotPushed(_) => (Code::Aborted, "NOT_PUSHED"),
        ForgeError::Taken(_) => (Code::AlreadyExists, "TAKEN"),
        ForgeError::Busy(_) => (Code::FailedPrecondition, "REPOSITORY_BUSY"),
        ForgeError::InUse { .. } => (Code::FailedPrecondition, "REPOSITORY_IN_USE"),
        ForgeError::NoRoom(_) => (Code::ResourceExhausted, "NO_ROOM"),
        ForgeError::Unavailable(_) => (Code::Unavailable, "FORGE_UNAVAILABLE"),
        ForgeError::Git(_) | ForgeError::GitFailed { .. } => (Code::Internal, "GIT"),
        ForgeError::File { .. } => (Code::Internal, "FILE"),
        ForgeError::Storage(StorageError::Closed) => return stopping(),
        ForgeError::Storage(_) => (Code::Internal, "STORE"),
    };
    status(code, reason, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_travel_along() {
        let status: Status = FleetError::NotFound("x".into()).into();
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!(
            (status.code(), info.reason.as_str(), info.domain.as_str()),
            (Code::NotFound, "SESSION_NOT_FOUND", DOMAIN)
        );
    }

    #[test]
    fn long_messages_keep_both_ends() {
        let text = format!("begin{}end", "\u{e9}".repeat(10_000));
        let short = bounded(text);
        assert!(short.len() <= MESSAGE_MAX && short.starts_with("begin") && short.ends_with("end"));
    }
}
