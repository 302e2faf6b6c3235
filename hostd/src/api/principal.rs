//! Who calls: the user at the other end of the socket.

use hostd_core::Actor;
use tonic::{Code, Request, Status, transport::server::UdsConnectInfo};

use super::status::status;

/// How whoever calls is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// As a user of this machine: the kernel says who is at the other end of a Unix socket.
    User {
        /// Number of the user.
        uid: u32,
    },
}

/// Whoever makes a call. In the extensions of every request that is let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// User name; `uid 1000` where the system knows none.
    pub name: String,
    /// How whoever calls is known.
    pub peer: Peer,
}

impl Principal {
    /// The user of this number, with the name that the system has for it. May wait for a directory service.
    fn user(uid: u32) -> Self {
        Self { name: user_name(uid), peer: Peer::User { uid } }
    }
}

/// Who may call: the user that hostd runs as, and root.
#[derive(Clone, Debug)]
pub(super) struct Allowed {
    principals: Vec<Principal>,
}

impl Allowed {
    /// The user of this process, and root. Blocks: their names may come from a directory service.
    pub(super) fn of_this_process() -> Self {
        let own = rustix::process::geteuid().as_raw();
        Self { principals: [own, 0].map(Principal::user).into() }
    }

    /// Allows neither the user who runs tests nor root.
    #[cfg(test)]
    pub(super) fn nobody_here() -> Self {
        let uid = rustix::process::geteuid().as_raw() + 1;
        Self { principals: vec![Principal { name: "somebody".into(), peer: Peer::User { uid } }] }
    }

    /// Lets a request of an allowed user through, with its [`Principal`] in the extensions.
    // tonic's interceptors return this type.
    #[allow(clippy::result_large_err)]
    pub(super) fn check(&self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let principal = peer(&request).and_then(|peer| self.principals.iter().find(|known| known.peer == peer));
        let Some(principal) = principal.cloned() else {
            let message = "only the user that hostd runs as, and root, may use this socket";
            return Err(status(Code::PermissionDenied, "NOT_ALLOWED", message));
        };
        request.extensions_mut().insert(principal);
        Ok(request)
    }
}

/// On whose behalf this request is.
pub(super) fn actor<T>(request: &Request<T>) -> Actor {
    Actor::person(owner(request))
}

/// Name of the user who owns what this request makes: whoever calls.
pub(super) fn owner<T>(request: &Request<T>) -> String {
    request.extensions().get::<Principal>().map(|principal| principal.name.clone()).unwrap_or_default()
}

/// Who is at the other end of a request's connection; None: that is not known.
fn peer(request: &Request<()>) -> Option<Peer> {
    let credentials = request.extensions().get::<UdsConnectInfo>()?.peer_cred?;
    Some(Peer::User { uid: credentials.uid() })
}

/// Name of the user of this number by the system's name service, which asks LDAP or sssd where the system is set up so.
fn user_name(uid: u32) -> String {
    let found = nix::unistd::User::from_uid(uid.into());
    let found = found.inspect_err(|error| tracing::warn!(uid, %error, "the name of a user cannot be looked up"));
    match found {
        Ok(Some(user)) if !user.name.is_empty() => user.name,
        _ => format!("uid {uid}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_the_system_has() {
        let uid = rustix::process::geteuid().as_raw();
        let id = std::process::Command::new("id").arg("-un").output().unwrap();
        assert_eq!(user_name(uid), String::from_utf8(id.stdout).unwrap().trim_end());
        assert_eq!(user_name(0), "root");
        assert_eq!(user_name(u32::MAX - 7), "uid 4294967288");
    }

    #[tokio::test]
    async fn only_known_users_are_let_through() {
        let own = rustix::process::geteuid().as_raw();
        let (near, _far) = tokio::net::UnixStream::pair().unwrap();
        let call = || {
            let mut request = Request::new(());
            let peer_cred = Some(near.peer_cred().unwrap());
            request.extensions_mut().insert(UdsConnectInfo { peer_addr: None, peer_cred });
            request
        };
        let known = Allowed { principals: vec![Principal { name: "sam".into(), peer: Peer::User { uid: own } }] };
        assert_eq!(owner(&known.check(call()).unwrap()), "sam");
        let refused = Allowed::nobody_here().check(call()).unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
        assert!(Allowed::of_this_process().check(call()).is_ok());
    }

    #[test]
    fn a_call_without_credentials_is_refused() {
        let refused = Allowed::of_this_process().check(Request::new(())).unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
    }
}
