//! Who programs run as: a user of the guest's own /etc/passwd and /etc/group.

use std::{fs, io};

/// Name of the user that programs run as where nobody says otherwise.
pub const ROOT: &str = "root";

/// A user of the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Login name of the user.
    pub name: String,
    /// Number of the user.
    pub uid: u32,
    /// Number of the user's own group.
    pub gid: u32,
    /// Numbers of all of the user's groups.
    pub groups: Vec<u32>,
    /// Absolute path of the user's home folder.
    pub home: String,
    /// Absolute path of the user's login shell.
    pub shell: String,
}

impl User {
    /// The user of this name; empty: root.
    ///
    /// # Errors
    /// There is none, with what to do; or /etc/passwd cannot be read.
    pub fn find(name: &str) -> io::Result<Self> {
        let name = if name.is_empty() { ROOT } else { name };
        let groups = fs::read_to_string("/etc/group").unwrap_or_default();
        match fs::read_to_string("/etc/passwd") {
            Ok(passwd) => {
                let user = Self::of(name, &passwd, &groups);
                user.or_else(|| (name == ROOT).then(Self::root)).ok_or_else(|| no_such(name))
            }
            // A root file system without users has root alone.
            Err(error) if error.kind() == io::ErrorKind::NotFound && name == ROOT => Ok(Self::root()),
            Err(error) => Err(error),
        }
    }

    fn of(name: &str, passwd: &str, groups: &str) -> Option<Self> {
        let [_, _, uid, gid, _, home, shell] = fields(passwd, name)?;
        let (uid, gid) = (uid.parse().ok()?, gid.parse().ok()?);
        let path = |text: &str, default: &str| if text.starts_with('/') { text.into() } else { default.into() };
        Some(Self {
            name: name.into(),
            uid,
            gid,
            groups: groups_of(name, gid, groups),
            home: path(home, "/"),
            shell: path(shell, "/bin/sh"),
        })
    }

    fn root() -> Self {
        Self { name: ROOT.into(), uid: 0, gid: 0, groups: vec![0], home: "/root".into(), shell: "/bin/sh".into() }
    }
}

/// The seven fields of the user's line.
fn fields<'a>(passwd: &'a str, name: &str) -> Option<[&'a str; 7]> {
    let lines = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    lines.filter(|fields| fields.first() == Some(&name)).find_map(|fields| fields.try_into().ok())
}

/// Numbers of the user's own group, and of those whose lines name the user.
fn groups_of(name: &str, own: u32, groups: &str) -> Vec<u32> {
    let of_line = |line: &str| {
        let mut fields = line.split(':').skip(2);
        let (gid, members) = (fields.next()?.parse().ok()?, fields.next()?);
        members.split(',').any(|member| member.trim() == name).then_some(gid)
    };
    let mut all: Vec<u32> = std::iter::once(own).chain(groups.lines().filter_map(of_line)).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn no_such(name: &str) -> io::Error {
    let help = format!("create it in the recipe's setup, e.g. \"useradd --create-home --shell /bin/bash {name}\"");
    io::Error::new(io::ErrorKind::NotFound, format!("there is no user `{name}` in this environment; {help}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/bash\nbad:x:0\ndev:x:1000:1001:A Dev,,,:/home/dev:/bin/zsh\nbare:x:5:6:::\n";
    const GROUPS: &str = "root:x:0:\nvideo:x:44:other,dev\ndev:x:1001:\ndocker:x:99:dev\nbroken\n";

    #[test]
    fn users_are_as_the_guest_has_them() {
        let dev = User::of("dev", PASSWD, GROUPS).unwrap();
        assert_eq!((dev.uid, dev.gid, dev.groups), (1000, 1001, vec![44, 99, 1001]));
        assert_eq!((dev.home.as_str(), dev.shell.as_str()), ("/home/dev", "/bin/zsh"));
        let bare = User::of("bare", PASSWD, GROUPS).unwrap();
        assert_eq!((bare.home.as_str(), bare.shell.as_str()), ("/", "/bin/sh"));
        assert_eq!(User::of("root", PASSWD, GROUPS).unwrap().uid, 0);
        assert_eq!((User::of("bad", PASSWD, GROUPS), User::of("de", PASSWD, GROUPS)), (None, None));
    }

    #[test]
    fn an_unknown_user_is_told_with_what_to_do() {
        let error = User::find("no-such-user").unwrap_err().to_string();
        assert!(error.contains("no user `no-such-user`") && error.contains("useradd --create-home"), "{error}");
    }
}
