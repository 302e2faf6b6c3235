//! Installing a service, and removing it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use eyre::{Context as _, bail};

use super::{
    UNIT,
    place::{Place, Scope},
    plan::{Plan, Step},
    unit,
};

/// The programs that belong together, and whether hostd does without.
pub(super) const PROGRAMS: [(&str, bool); 4] =
    [("hostd", false), ("pilothouse-guest-static", false), ("pilothouse", true), ("git-remote-pilothouse", true)];
/// Shells that the console's completions are installed for.
const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];
/// Longest completions, in bytes.
const COMPLETIONS: usize = 1 << 20;
/// Ending of what a program was before.
pub(super) const OLD: &str = "old";

/// What is to be done to install the programs of this folder as a service. Nothing is done yet.
///
/// # Errors
/// A program is missing that hostd needs, or the service's user.
pub fn install(place: &Place, from: &Path) -> eyre::Result<Plan> {
    let programs = programs(from)?;
    let (mut steps, mut notes) = (vec![], vec![]);
    if place.root.is_none() && place.scope == Scope::System {
        has_user(unit::USER)?;
    }
    let mut installed = vec![];
    for (name, file) in &programs {
        steps.extend(put(place, name, file));
        installed.push(place.program(name));
    }
    for shell in SHELLS {
        let pilothouse = programs.iter().find(|(name, _)| *name == "pilothouse").map(|(_, file)| file);
        if let (Some(program), Some(to)) = (pilothouse, place.completions(shell)) {
            let text = completions(program, shell).wrap_err("the completions of pilothouse")?;
            steps.push(Step::Write { to: place.on_disk(&to), text });
            installed.push(to);
        }
    }
    steps.push(Step::Write { to: place.on_disk(&place.unit()), text: unit::text(place) });
    installed.push(place.unit());
    let list: String = installed.iter().map(|path| format!("{}\n", path.display())).collect();
    steps.push(Step::Write { to: place.on_disk(&place.list()), text: list });
    if place.root.is_none() {
        steps.push(Step::Run(place.systemctl(&["daemon-reload"])));
        steps.push(Step::Run(place.systemctl(&["enable", UNIT])));
        steps.push(Step::Run(place.systemctl(&["restart", UNIT])));
        if place.scope == Scope::User {
            notes.push("`loginctl enable-linger` has it run while you are not logged in".into());
        }
    }
    Ok(Plan { steps, notes })
}

/// What is to be done to remove a service. The data folder is not touched.
///
/// # Errors
/// None is installed there.
pub fn uninstall(place: &Place) -> eyre::Result<Plan> {
    let list = place.on_disk(&place.list());
    let text = fs::read_to_string(&list)
        .wrap_err_with(|| format!("no service was installed there, or not by `hostd install`: {}", list.display()))?;
    let mut steps = vec![];
    if place.root.is_none() {
        steps.push(Step::Run(place.systemctl(&["disable", "--now", UNIT])));
    }
    let known = known(place);
    for path in text.lines().map(PathBuf::from) {
        if !known.contains(&path) {
            bail!("{} lists {}, which hostd does not install; remove it by hand", list.display(), path.display());
        }
        let on_disk = place.on_disk(&path);
        steps.push(Step::Remove(old(&on_disk)));
        steps.push(Step::Remove(on_disk));
    }
    steps.push(Step::Remove(list));
    if place.root.is_none() {
        steps.push(Step::Run(place.systemctl(&["daemon-reload"])));
    }
    let notes = vec!["the data folder stays, with all sessions, environments and repositories".into()];
    Ok(Plan { steps, notes })
}

/// All that `hostd install` may put there.
fn known(place: &Place) -> Vec<PathBuf> {
    let programs = PROGRAMS.iter().map(|(name, _)| place.program(name));
    let completions = SHELLS.iter().filter_map(|shell| place.completions(shell));
    programs.chain(completions).chain([place.unit()]).collect()
}

/// Puts a program in its place, and keeps the one that was there.
pub(super) fn put(place: &Place, name: &str, file: &Path) -> [Step; 2] {
    let to = place.on_disk(&place.program(name));
    [Step::Keep { file: to.clone(), by: old(&to) }, Step::Copy { from: file.to_owned(), to }]
}

/// The path of what a file was before.
fn old(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(OLD);
    name.into()
}

/// The programs in this folder.
///
/// # Errors
/// One is missing that hostd needs.
pub(super) fn programs(folder: &Path) -> eyre::Result<Vec<(&'static str, PathBuf)>> {
    let mut found = vec![];
    for (name, optional) in PROGRAMS {
        let file = folder.join(name);
        if file.is_file() {
            found.push((name, file));
        } else if !optional {
            bail!("{} is not there; hostd needs it beside itself", file.display());
        }
    }
    Ok(found)
}

fn completions(pilothouse: &Path, shell: &str) -> eyre::Result<String> {
    let output = Command::new(pilothouse).args(["completions", shell]).output()?;
    if !output.status.success() || output.stdout.len() > COMPLETIONS {
        bail!("{} completions {shell} ended with {}", pilothouse.display(), output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn has_user(user: &str) -> eyre::Result<()> {
    if nix::unistd::User::from_name(user)?.is_some() {
        return Ok(());
    }
    bail!(
        "the service runs as the user {user}, who is not there; make one:\n  \
         useradd --system --create-home --home-dir /var/lib/{user} --shell /usr/sbin/nologin {user}\n  \
         usermod --add-subuids 2000000-2065535 --add-subgids 2000000-2065535 --append --groups kvm {user}"
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::service::upgrade;

    /// A folder with programs, which say what they are.
    fn built(version: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, _) in PROGRAMS {
            let path = folder.path().join(name);
            fs::write(&path, format!("#!/bin/sh\necho {name} {version} \"$@\"\n")).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        folder
    }

    #[test]
    fn what_is_installed_is_replaced_and_removed_again() {
        let root = tempfile::tempdir().unwrap();
        let place = Place::of_user(Path::new("/home/me"), Some(root.path().into()));
        let at = |path: &str| root.path().join("home/me").join(path);
        install(&place, built("1").path()).unwrap().carry_out(&mut |_| ()).unwrap();
        let text = |path: &str| fs::read_to_string(at(path)).unwrap();
        assert!(text(".local/bin/hostd").contains("hostd 1"));
        assert_eq!(text(".local/share/fish/vendor_completions.d/pilothouse.fish"), "pilothouse 1 completions fish\n");
        assert!(!at(".local/share/pilothouse").exists(), "the data folder is for hostd to make");
        let unit = text(".config/systemd/user/hostd.service");
        let has = |line: &str| unit.lines().any(|text| text == line);
        assert!(has("ExecStart=/home/me/.local/bin/hostd serve") && has("KillMode=process") && has("Type=notify"));
        upgrade(&place, built("2").path()).unwrap().carry_out(&mut |_| ()).unwrap();
        assert!(text(".local/bin/hostd").contains("hostd 2") && text(".local/bin/hostd.old").contains("hostd 1"));
        let mine = at(".local/bin/mine");
        fs::write(&mine, "mine").unwrap();
        uninstall(&place).unwrap().carry_out(&mut |_| ()).unwrap();
        assert_eq!(fs::read_dir(at(".local/bin")).unwrap().count(), 1, "what is not hostd's stays");
        assert!(!at(".config/systemd/user/hostd.service").exists());
        let error = uninstall(&place).unwrap_err().to_string();
        assert!(error.starts_with("no service was installed there"), "{error}");
    }

    #[test]
    fn nothing_else_is_removed_whatever_the_list_says() {
        let root = tempfile::tempdir().unwrap();
        let place = Place::of_system(Some(root.path().into()));
        let list = place.on_disk(&place.list());
        fs::create_dir_all(list.parent().unwrap()).unwrap();
        fs::write(&list, "/usr/local/bin/hostd\n/etc/passwd\n").unwrap();
        let error = uninstall(&place).unwrap_err().to_string();
        assert!(error.contains("/etc/passwd, which hostd does not install"), "{error}");
    }

    #[test]
    fn a_guest_is_needed_and_a_console_is_not() {
        let folder = built("1");
        fs::remove_file(folder.path().join("pilothouse")).unwrap();
        let place = Place::of_system(Some("/nowhere".into()));
        assert!(install(&place, folder.path()).unwrap().steps.iter().all(|step| !step.to_string().contains("fish")));
        fs::remove_file(folder.path().join("pilothouse-guest-static")).unwrap();
        let error = install(&place, folder.path()).unwrap_err().to_string();
        assert!(error.contains("pilothouse-guest-static is not there"), "{error}");
    }

    /// systemd's own judgement of both units, where systemd is on this machine.
    #[test]
    fn systemd_takes_the_units() {
        for user in [false, true] {
            let folder = built("1");
            let place = match user {
                true => Place::of_user(folder.path(), None),
                false => Place::of_system(None),
            };
            let text = unit::text(&place).replace(&place.program("hostd").display().to_string(), "/bin/true");
            let path = folder.path().join(UNIT);
            fs::write(&path, text).unwrap();
            let scope = if user { "--user" } else { "--system" };
            let command = ["verify", "--man=no", "--recursive-errors=no", scope];
            let verified = Command::new("systemd-analyze").args(command).arg(&path).output();
            let Ok(verified) = verified else {
                eprintln!("NOT CHECKED: systemd-analyze is not on this machine");
                return;
            };
            let said = String::from_utf8_lossy(&verified.stderr);
            // Of other units on the machine it may say more.
            let ours: Vec<_> = said.lines().filter(|line| line.contains(UNIT)).collect();
            assert!(ours.is_empty(), "{ours:?}");
        }
    }
}
