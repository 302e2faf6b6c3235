//! Installing a service, and removing it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use eyre::{Context as _, bail};

use super::{
    UNIT,
    list::{List, PROGRAMS, SHELLS, old},
    place::{Place, Scope},
    plan::{Plan, Step},
    unit,
    upgrade::{restart, way_back},
};

/// Longest completions, in bytes.
const COMPLETIONS: usize = 1 << 20;

/// What is to be done to install the programs of this folder as a service. Nothing is done yet.
///
/// # Errors
/// A program is missing that hostd needs, or the service's user, or a path is none that a unit can name.
pub fn install(place: &Place, from: &Path) -> eyre::Result<Plan> {
    let programs = programs(from)?;
    if place.root.is_none() && place.scope == Scope::System {
        has_user(unit::USER)?;
    }
    let mut list = List::read(place)?.unwrap_or_default();
    let mut plan = Plan { home: place.home(), ..Plan::default() };
    let unit = place.on_disk(&place.unit());
    let text = unit::text(place)?;
    let kept = (!unit::is_ours(&unit)?).then(|| old(&unit));
    if let Some(kept) = &kept {
        let question = "was not written by `hostd install`; replace it? It is kept as";
        plan.steps.push(Step::Ask(format!("{} {question} {}.", unit.display(), kept.display())));
    }
    let first = plan.steps.len();
    list.put(&mut plan, place, &programs)?;
    for shell in SHELLS {
        let pilothouse = programs.iter().find(|(name, _)| *name == "pilothouse").map(|(_, file)| file);
        if let (Some(program), Some(to)) = (pilothouse, place.completions(shell)) {
            let text = completions(program, shell).wrap_err("the completions of pilothouse")?;
            plan.steps.push(Step::Write { to: place.on_disk(&to), text });
            list.add(to);
        }
    }
    plan.steps.extend(kept.map(|by| Step::Keep { file: unit.clone(), by }));
    plan.steps.push(Step::Write { to: unit, text });
    list.add(place.unit());
    // Before the rest: what is done by half can be removed, too.
    plan.steps.insert(first, list.write(place));
    if place.root.is_none() {
        plan.back = way_back(place, &list, &plan);
        plan.steps.push(Step::Run(place.systemctl(&["daemon-reload"])));
        plan.steps.push(Step::Run(place.systemctl(&["enable", UNIT])));
        plan.steps.push(Step::VmsOutlive(place.scope));
        plan.steps.push(restart(place));
        if place.scope == Scope::User {
            plan.notes.push("`loginctl enable-linger` has it run while you are not logged in".into());
        }
    }
    Ok(plan)
}

/// What is to be done to remove a service. The data folder is not touched.
///
/// # Errors
/// None is installed there.
pub fn uninstall(place: &Place) -> eyre::Result<Plan> {
    let list = place.on_disk(&place.list());
    let Some(listed) = List::read(place)? else {
        bail!("no service was installed there, or not by `hostd install`: {} is not there", list.display());
    };
    let reload = Step::Run(place.systemctl(&["daemon-reload"]));
    let unit = place.on_disk(&place.unit());
    let mut steps = vec![];
    // It is not where this was done by half before.
    if place.root.is_none() && unit.exists() {
        steps.extend([reload.clone(), Step::VmsOutlive(place.scope)]);
        steps.push(Step::Run(place.systemctl(&["disable", "--now", UNIT])));
    }
    let others = listed.paths().map(|path| place.on_disk(path)).filter(|path| *path != unit);
    steps.extend(others.map(Step::Remove));
    steps.push(Step::Remove(unit.clone()));
    if place.root.is_none() {
        steps.push(reload);
    }
    steps.push(Step::Remove(list));
    let mut notes = vec!["the data folder stays, with all sessions, environments and repositories".into()];
    let foreign = old(&unit);
    if foreign.exists() {
        notes.push(format!("{} stays: hostd did not write it", foreign.display()));
    }
    Ok(Plan { steps, notes, ..Plan::default() })
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
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;
    use crate::service::upgrade;

    /// Carries a plan out, and says yes to what is asked.
    fn done(plan: eyre::Result<Plan>) {
        assert!(plan.unwrap().carry_out(&mut |_| (), &mut |_| Ok(true)).unwrap());
    }

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
        done(install(&place, built("1").path()));
        let text = |path: &str| fs::read_to_string(at(path)).unwrap();
        assert!(text(".local/bin/hostd").contains("hostd 1"));
        assert_eq!(text(".local/share/fish/vendor_completions.d/pilothouse.fish"), "pilothouse 1 completions fish\n");
        assert!(!at(".local/share/pilothouse").exists(), "the data folder is for hostd to make");
        let unit = text(".config/systemd/user/hostd.service");
        let has = |line: &str| unit.lines().any(|text| text == line);
        assert!(has("ExecStart=/home/me/.local/bin/hostd serve") && has("KillMode=process") && has("Type=notify"));
        assert!(has("LimitCORE=0") && unit::text(&Place::of_system(None)).unwrap().contains("\nPrivateTmp=yes\n"));
        // Twice: what it was at first is kept.
        for _ in 0..2 {
            done(upgrade(&place, built("2").path()));
            assert!(text(".local/bin/hostd").contains("hostd 2") && text(".local/bin/hostd.old").contains("hostd 1"));
        }
        let error = upgrade(&place, &at(".local/bin/hostd.old")).unwrap_err().to_string();
        assert!(error.contains("\n  mv -f ") && error.contains("hostd.old "), "{error}");
        let mine = at(".local/bin/mine");
        fs::write(&mine, "mine").unwrap();
        done(uninstall(&place));
        assert_eq!(fs::read_dir(at(".local/bin")).unwrap().count(), 1, "what is not hostd's stays");
        assert!(!at(".config/systemd/user/hostd.service").exists());
        let error = uninstall(&place).unwrap_err().to_string();
        assert!(error.starts_with("no service was installed there"), "{error}");
    }

    #[test]
    fn what_is_kept_belongs_together() {
        let root = tempfile::tempdir().unwrap();
        let place = Place::of_system(Some(root.path().into()));
        let (first, second, third) = (built("1"), built("2"), built("3"));
        // The third has the guest of the second.
        let guest = "pilothouse-guest-static";
        fs::copy(second.path().join(guest), third.path().join(guest)).unwrap();
        let kept = |name: &str| fs::read_to_string(old(&place.on_disk(&place.program(name)))).unwrap();
        done(install(&place, first.path()));
        done(upgrade(&place, second.path()));
        assert!(kept("hostd").contains("hostd 1") && kept(guest).contains("static 1"));
        let plan = upgrade(&place, third.path()).unwrap();
        // hostd is the last that is replaced, and all is kept before: so this is where it may end.
        let last = plan.steps.iter().rposition(|step| matches!(step, Step::Copy { .. })).unwrap();
        assert!(plan.steps[last].to_string().ends_with("/bin/hostd"));
        let half = Plan { steps: plan.steps[..last].to_vec(), ..plan };
        done(Ok(half));
        for _ in 0..2 {
            done(upgrade(&place, third.path()));
            assert!(kept("hostd").contains("hostd 2") && kept(guest).contains("static 2"));
            assert!(kept("pilothouse").contains("pilothouse 2"));
        }
    }

    #[test]
    fn what_hostd_did_not_keep_is_not_removed() {
        let root = tempfile::tempdir().unwrap();
        let place = Place::of_system(Some(root.path().into()));
        done(install(&place, built("1").path()));
        let unit = place.on_disk(&place.unit());
        for program in ["hostd", "pilothouse"] {
            fs::write(old(&place.on_disk(&place.program(program))), "mine").unwrap();
        }
        fs::write(old(&unit), "mine").unwrap();
        done(uninstall(&place));
        let bin = unit.ancestors().nth(4).unwrap().join("usr/local/bin");
        assert_eq!(fs::read_dir(bin).unwrap().count(), 2, "and all of hostd's is gone");
        assert_eq!((fs::read_to_string(old(&unit)).unwrap(), unit.exists()), ("mine".into(), false));
    }

    #[test]
    fn a_unit_of_others_is_asked_about_and_kept() {
        let root = tempfile::tempdir().unwrap();
        let place = Place::of_system(Some(root.path().into()));
        let unit = place.on_disk(&place.unit());
        fs::create_dir_all(unit.parent().unwrap()).unwrap();
        fs::write(&unit, "[Service]\nExecStart=/opt/hostd\n").unwrap();
        let programs = built("1");
        let plan = install(&place, programs.path()).unwrap();
        let mut asked = String::new();
        let no = plan.carry_out(&mut |_| panic!("something was done"), &mut |question| {
            asked = question.into();
            Ok(false)
        });
        assert!(!no.unwrap() && asked.contains("hostd.service was not written by `hostd install`"), "{asked}");
        done(Ok(plan));
        assert!(fs::read_to_string(old(&unit)).unwrap().contains("/opt/hostd"));
        // hostd's own is replaced without a question, and not kept.
        let again = install(&place, programs.path()).unwrap();
        assert!(again.carry_out(&mut |_| (), &mut |_| panic!("a question")).unwrap());
        assert!(fs::read_to_string(old(&unit)).unwrap().contains("/opt/hostd"));
    }

    #[test]
    fn a_removal_that_was_done_by_half_is_done_again() {
        let home = tempfile::tempdir().unwrap();
        let place = Place::of_user(home.path(), None);
        let list = place.list();
        fs::create_dir_all(list.parent().unwrap()).unwrap();
        fs::write(&list, format!("{}\n{}\n", place.unit().display(), place.program("hostd").display())).unwrap();
        let steps = || uninstall(&place).unwrap().steps;
        let stop = |step: &Step| step.to_string().contains("disable --now");
        assert!(!steps().iter().any(stop), "a unit that is not there is not stopped");
        fs::create_dir_all(place.unit().parent().unwrap()).unwrap();
        fs::write(place.unit(), "").unwrap();
        let steps = steps();
        let at = |wanted: &dyn Fn(&Step) -> bool| steps.iter().position(wanted).unwrap();
        let stopped = at(&stop);
        assert_eq!(steps[stopped - 1], Step::VmsOutlive(Scope::User), "only after a look");
        let removed = |path: PathBuf| at(&move |step| *step == Step::Remove(path.clone()));
        assert!(stopped < removed(place.program("hostd")));
        assert!(removed(place.program("hostd")) < removed(place.unit()));
        assert_eq!(removed(list), steps.len() - 1, "the last of all");
    }

    #[test]
    fn vms_are_looked_after_before_a_restart_and_a_new_hostd_is_tried_before_it_is_installed() {
        let (home, programs) = (tempfile::tempdir().unwrap(), built("1"));
        let place = Place::of_user(home.path(), None);
        let steps = install(&place, programs.path()).unwrap().steps;
        let [.., reload, _, look, restart] = steps.as_slice() else { panic!("{steps:?}") };
        assert!(
            reload.to_string().ends_with("daemon-reload") && restart.to_string().ends_with("restart hostd.service")
        );
        assert_eq!(*look, Step::VmsOutlive(Scope::User));
        fs::create_dir_all(place.program("hostd").parent().unwrap()).unwrap();
        fs::write(place.program("hostd"), "1").unwrap();
        let plan = upgrade(&place, programs.path()).unwrap();
        let [tried, reload, look, ..] = plan.steps.as_slice() else { panic!("{plan:?}") };
        assert!(tried.to_string().ends_with("hostd --version") && reload.to_string().ends_with("daemon-reload"));
        assert_eq!(*look, Step::VmsOutlive(Scope::User));
        let old = old(&place.program("hostd"));
        assert!(plan.back[0].starts_with(&format!("mv -f {}", old.display())), "{:?}", plan.back);
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

    /// systemd's own judgement of both units, also where a home folder has a name that a unit cannot say as it is.
    #[test]
    fn systemd_takes_the_units() {
        for user in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let home = folder.path().join("50% of it");
            let place = if user { Place::of_user(&home, None) } else { Place::of_system(None) };
            let mut text = unit::text(&place).unwrap();
            if user {
                fs::create_dir_all(place.program("hostd").parent().unwrap()).unwrap();
                fs::copy("/bin/true", place.program("hostd")).unwrap();
            } else {
                text = text.replace(&place.program("hostd").display().to_string(), "/bin/true");
            }
            let path = folder.path().join(UNIT);
            fs::write(&path, text).unwrap();
            let scope = if user { "--user" } else { "--system" };
            let command = ["verify", "--man=no", "--recursive-errors=no", scope];
            // Without one it looks at nothing.
            let mut verified = Command::new("systemd-analyze");
            let verified = verified.args(command).arg(&path).env("XDG_RUNTIME_DIR", folder.path()).output();
            let verified = verified.expect("systemd-analyze is needed: tests/setup.sh installs it");
            let said = String::from_utf8_lossy(&verified.stderr);
            assert!(!said.contains("Failed to initialize"), "{said}");
            // Of other units on the machine it may say more.
            let ours: Vec<_> = said.lines().filter(|line| line.contains(UNIT)).collect();
            assert!(ours.is_empty(), "{ours:?}");
        }
    }
}
