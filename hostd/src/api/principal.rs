//! Who calls: the user at the other end of the socket.

use hostd_core::Actor;
use tonic::{Code, Request, Status, transport::server::UdsConnectInfo};

use super::status::status;

/// Whoever makes a call. In the extensions of every request that is let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// User name; `uid 1000` where the system knows none.
    pub name: String,
    /// Number of the user.
    pub uid: u32,
}

/// Who may call: the user that hostd runs as, and root.
#[derive(Clone, Debug)]
pub(super) struct Allowed {
    users: Vec<Principal>,
}

impl Allowed {
    pub(super) fn of_this_process() -> Self {
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let own = rustix::process::geteuid().as_raw();
        let users = [own, 0].map(|uid| Principal { name: user_name(&passwd, uid), uid });
        Self { users: users.into() }
    }

    /// Allows neither the user who runs tests nor root.
    #[cfg(test)]
    pub(super) fn nobody_here() -> Self {
        let uid = rustix::process::geteuid().as_raw() + 1;
        Self { users: vec![Principal { name: "somebody".into(), uid }] }
    }

    /// Lets a request of an allowed user through, with its [`Principal`] in the extensions.
    // tonic's interceptors return this type.
    #[allow(clippy::result_large_err)]
    pub(super) fn check(&self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let peer = request.extensions().get::<UdsConnectInfo>().and_then(|info| info.peer_cred);
        let principal = peer.and_then(|peer| self.users.iter().find(|user| user.uid == peer.uid()));
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

fn user_name(passwd: &str, uid: u32) -> String {
    let uid = uid.to_string();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid && !name.is_empty()).then_some(name)
    });
    name.map_or_else(|| format!("uid {uid}"), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_passwd() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nsam:x:1000:1000::/home/sam:/bin/sh\nbroken\n";
        assert_eq!(user_name(passwd, 0), "root");
        assert_eq!(user_name(passwd, 1000), "sam");
        assert_eq!(user_name(passwd, 7), "uid 7");
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
        let known = Allowed { users: vec![Principal { name: "sam".into(), uid: own }] };
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
