//! Replacing a service's programs by newer ones.

use std::path::Path;

use eyre::bail;

use super::{
    UNIT,
    install::programs,
    list::{List, PROGRAMS, old},
    place::Place,
    plan::{Plan, Step},
};

/// What is to be done to replace an installed service's programs by those beside `from`, which is a `hostd` or the folder that it
/// is in. VMs of sessions run on: the new hostd takes them over, and reads what the old one has stored. An older hostd does not
/// read what a newer one has stored.
///
/// # Errors
/// None is installed there, or a program is missing that hostd needs.
pub fn upgrade(place: &Place, from: &Path) -> eyre::Result<Plan> {
    let there = place.on_disk(&place.program("hostd"));
    if !there.exists() {
        bail!("no hostd is installed at {}; `hostd install` does that", there.display());
    }
    let listed = List::read(place)?;
    let is_listed = listed.is_some();
    let mut list = listed.unwrap_or_default();
    let back = way_back(place, &list, &Plan::default());
    if from.file_name() == old(Path::new("hostd")).file_name() && !back.is_empty() {
        bail!("{} is what an upgrade has kept; it comes back by:\n  {}", from.display(), back.join("\n  "));
    }
    let folder = if from.is_dir() { from } else { from.parent().unwrap_or(Path::new(".")) };
    if !from.is_dir() && from.file_name().is_none_or(|name| name != "hostd") {
        bail!("{} is not called hostd; say the folder that the new programs are in", from.display());
    }
    let programs = programs(folder)?;
    let mut plan = Plan { home: place.home(), ..Plan::default() };
    // One that does not even start here replaces nothing.
    for (_, hostd) in programs.iter().filter(|(name, _)| *name == "hostd") {
        plan.steps.push(Step::Run(vec![command(hostd), "--version".into()]));
    }
    if place.root.is_none() {
        plan.steps.push(Step::Run(place.systemctl(&["daemon-reload"])));
        plan.steps.push(Step::VmsOutlive(place.scope));
    }
    let first = plan.steps.len();
    list.put(&mut plan, place, &programs)?;
    if is_listed {
        plan.steps.insert(first, list.write(place));
    }
    let back = way_back(place, &list, &plan);
    if !back.is_empty() {
        plan.notes.push(format!("what was there is kept, and comes back by:\n  {}", back.join("\n  ")));
    }
    if place.root.is_none() {
        plan.back = back;
        plan.steps.push(restart(place));
    } else {
        plan.notes.push(format!("restart it: {}", place.systemctl(&["restart", UNIT]).join(" ")));
    }
    Ok(plan)
}

/// The step that has the new programs serve. It fails where they do not come to that.
pub(super) fn restart(place: &Place) -> Step {
    Step::Run(place.systemctl(&["restart", UNIT]))
}

/// Commands that bring back what upgrades have kept, or this plan is to keep; none where that is nothing.
pub(super) fn way_back(place: &Place, list: &List, plan: &Plan) -> Vec<String> {
    let kept = PROGRAMS.iter().filter_map(|(name, _)| {
        let path = place.program(name);
        let (file, by) = (place.on_disk(&path), place.on_disk(&old(&path)));
        let is_listed = list.paths().any(|listed| listed == old(&path));
        let keep = Step::Keep { file: file.clone(), by: by.clone() };
        (is_listed && by.exists() || plan.steps.contains(&keep)).then_some((by, file))
    });
    let mut commands: Vec<_> = kept.map(|(by, file)| format!("mv -f {} {}", quoted(&by), quoted(&file))).collect();
    if !commands.is_empty() && place.root.is_none() {
        // A hostd that did not come up may have used up its attempts.
        commands.extend(["reset-failed", "restart"].map(|what| place.systemctl(&[what, UNIT]).join(" ")));
    }
    commands
}

/// How a program is run that is beside the caller.
fn command(path: &Path) -> String {
    let text = path.display().to_string();
    if text.contains('/') { text } else { format!("./{text}") }
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
