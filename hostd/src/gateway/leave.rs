//! Where a caller may go beside what its recipe lists.

use std::sync::Arc;

use hostd_core::{credentials::Credential, recipe::Egress};

use super::{caller::Caller, egress::Destination};

/// The caller, who may also reach this destination where a credential of it is for that.
pub(super) fn with_leave(caller: &Caller, destination: &Destination, held: &[Arc<Credential>]) -> Caller {
    let mut caller = caller.clone();
    for credential in held {
        // As it is written: what is below a domain leads to fewer addresses.
        let matching = credential.hosts.iter().filter(|host| host.matches(&destination.host, destination.port));
        let entries = matching.map(|host| Egress { to: host.destination(), private: credential.private });
        caller.beside.credentials.extend(entries);
    }
    caller
}
