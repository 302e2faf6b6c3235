//! What programs find in their environment.

use std::collections::{BTreeMap, HashMap};

use rustix::system::uname;

use crate::{folder::FOLDER, proxy, user::User};

/// A login's environment for this user, with the `session` command and the proxy; `more` goes over it.
#[must_use]
pub fn of<'a>(user: &User, more: impl IntoIterator<Item = &'a HashMap<String, String>>) -> BTreeMap<String, String> {
    let proxy = format!("http://{}", proxy::ADDRESS);
    let local = local(&uname().nodename().to_string_lossy());
    let base = [
        ("PATH", format!("{FOLDER}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")),
        ("HOME", user.home.clone()),
        ("SHELL", user.shell.clone()),
        ("USER", user.name.clone()),
        ("LOGNAME", user.name.clone()),
        ("LANG", "C.UTF-8".into()),
        ("TERM", "xterm-256color".into()),
        ("COLORTERM", "truecolor".into()),
        ("http_proxy", proxy.clone()),
        ("https_proxy", proxy.clone()),
        ("HTTP_PROXY", proxy.clone()),
        ("HTTPS_PROXY", proxy),
        ("no_proxy", local.clone()),
        ("NO_PROXY", local),
        // Else Node's own fetch knows no proxy.
        ("NODE_USE_ENV_PROXY", "1".into()),
        // The forge serves git's objects and none of LFS: pointers stay what they are, instead of failing every checkout.
        ("GIT_LFS_SKIP_SMUDGE", "1".into()),
    ];
    let mut all: BTreeMap<String, String> = base.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
    for environment in more {
        all.extend(environment.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
    all
}

/// What is the guest itself, and not to be asked of the proxy: what programs read the one or the other form of. Not `[::1]`, in
/// which httpx of Python finds a port that is none, and makes no client at all; who asks for that gets it by the proxy ([`crate::proxy`]).
fn local(hostname: &str) -> String {
    format!("localhost,.localhost,127.0.0.0/8,127.0.0.1,127.0.1.1,0.0.0.0,::1,{hostname}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_finds_its_own_home_and_the_guest_itself_without_the_proxy() {
        let user = User::find("").unwrap();
        let more = HashMap::from([("LANG".to_owned(), "de_DE.UTF-8".to_owned())]);
        let environment = of(&user, [&more]);
        let value = |name: &str| environment[name].as_str();
        assert_eq!((value("USER"), value("LOGNAME"), value("LANG")), ("root", "root", "de_DE.UTF-8"));
        assert_eq!((value("HOME"), value("SHELL")), (user.home.as_str(), user.shell.as_str()));
        assert_eq!(value("GIT_LFS_SKIP_SMUDGE"), "1", "a checkout with pointers would fail");
        let hostname = uname().nodename().to_string_lossy().into_owned();
        for name in ["no_proxy", "NO_PROXY"] {
            let local: Vec<&str> = value(name).split(',').collect();
            assert!(["localhost", "127.0.0.1", "0.0.0.0", "::1", &hostname].iter().all(|host| local.contains(host)));
            assert!(!value(name).contains('['), "programs that use httpx do not start");
        }
    }
}
