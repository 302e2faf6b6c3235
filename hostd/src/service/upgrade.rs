//! Replacing a service's programs by newer ones.

use std::path::Path;

use eyre::bail;

use super::{
    UNIT,
    install::{programs, put},
    kill_mode::of_unit,
    place::{Place, Scope},
    plan::{Plan, Step},
};

/// What is to be done to replace an installed service's programs by those beside `from`, which is a `hostd` or the folder that it
/// is in. VMs of sessions run on: the new hostd takes them over, and reads what the old one has stored. An older hostd does not
/// read what a newer one has stored.
///
/// # Errors
/// None is installed there, a program is missing that hostd needs, or the unit would end VMs of sessions with the older hostd.
pub fn upgrade(place: &Place, from: &Path) -> eyre::Result<Plan> {
    let folder = if from.is_dir() { from } else { from.parent().unwrap_or(Path::new(".")) };
    if !from.is_dir() && from.file_name().is_none_or(|name| name != "hostd") {
        bail!("{} is not called hostd; say the folder that the new programs are in", from.display());
    }
    let there = place.on_disk(&place.program("hostd"));
    if !there.exists() {
        bail!("no hostd is installed at {}; `hostd install` does that", there.display());
    }
    let mut steps: Vec<_> = programs(folder)?.iter().flat_map(|(name, file)| put(place, name, file)).collect();
    let mut notes =
        vec![format!("the programs that were there are kept beside the new ones, as {}.old", there.display())];
    if place.root.is_none() {
        if let Some((found, advice)) = of_unit(UNIT, place.scope == Scope::User).trouble() {
            bail!("{found}, as this does; {advice}, and then upgrade");
        }
        steps.push(Step::Run(place.systemctl(&["restart", UNIT])));
    } else {
        notes.push(format!("restart it: {}", place.systemctl(&["restart", UNIT]).join(" ")));
    }
    Ok(Plan { steps, notes })
}
