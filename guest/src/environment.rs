//! What programs find in their environment.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
};

use crate::{FOLDER, proxy};

/// A login's environment for root, with the `session` command and the proxy; `more` goes over it.
#[must_use]
pub fn of<'a>(more: impl IntoIterator<Item = &'a HashMap<String, String>>) -> BTreeMap<String, String> {
    let proxy = format!("http://{}", proxy::ADDRESS);
    let local = "localhost,127.0.0.1,::1";
    let (home, shell) = root();
    let base = [
        ("PATH", format!("{FOLDER}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")),
        ("HOME", home),
        ("SHELL", shell),
        ("USER", "root".into()),
        ("LOGNAME", "root".into()),
        ("LANG", "C.UTF-8".into()),
        ("TERM", "xterm-256color".into()),
        ("COLORTERM", "truecolor".into()),
        ("http_proxy", proxy.clone()),
        ("https_proxy", proxy.clone()),
        ("HTTP_PROXY", proxy.clone()),
        ("HTTPS_PROXY", proxy),
        ("no_proxy", local.into()),
        ("NO_PROXY", local.into()),
    ];
    let mut all: BTreeMap<String, String> = base.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
    for environment in more {
        all.extend(environment.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
    all
}

/// Home and shell of root, as the root file system has them.
fn root() -> (String, String) {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let line = passwd.lines().find(|line| line.split(':').nth(2) == Some("0")).unwrap_or_default();
    let field = |n: usize, default: &str| match line.split(':').nth(n) {
        Some(value) if value.starts_with('/') => value.to_string(),
        _ => default.to_string(),
    };
    (field(5, "/root"), field(6, "/bin/sh"))
}
