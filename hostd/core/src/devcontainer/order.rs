//! In which order features are installed.

use super::{Feature, json::shown};

/// The features in the order in which they are installed: none before what it depends on, or is to come after; of those that
/// could be next what `first` names, in its order, and then by name.
///
/// # Errors
/// Some depend on each other in a circle, or on what is not there.
pub fn in_order(mut waiting: Vec<Feature>, first: &[String], folder: &str) -> Result<Vec<Feature>, String> {
    waiting.sort_by_cached_key(|feature| (feature.resource(), feature.asked.name.clone()));
    let first: Vec<String> = first.iter().map(|name| resource_of(name, folder)).collect();
    let rank = |feature: &Feature| first.iter().position(|name| *name == feature.resource()).unwrap_or(first.len());
    let mut done: Vec<Feature> = vec![];
    while !waiting.is_empty() {
        let has = |asked: &super::Asked| {
            done.iter()
                .any(|done| done.asked.options == asked.options && done.resource() == resource_of(&asked.name, folder))
        };
        let may = |feature: &Feature| feature.depends_on.iter().all(has);
        let waits = |feature: &Feature| {
            let names: Vec<String> = feature.installs_after.iter().map(|name| resource_of(name, folder)).collect();
            waiting.iter().any(|other| other.resource() != feature.resource() && names.contains(&other.resource()))
        };
        let ready = |soft: bool| {
            let ready = (0..waiting.len()).filter(|at| may(&waiting[*at]) && !(soft && waits(&waiting[*at])));
            ready.min_by_key(|at| (rank(&waiting[*at]), *at))
        };
        // Those that only wish to come after each other come as they may.
        let Some(next) = ready(true).or_else(|| ready(false)) else {
            let names: Vec<String> = waiting.iter().map(|feature| shown(&feature.asked.name)).collect();
            return Err(format!("these features depend on each other in a circle: {}", names.join(", ")));
        };
        done.push(waiting.remove(next));
    }
    Ok(done)
}

/// What names a feature whatever its version is.
fn resource_of(name: &str, folder: &str) -> String {
    let asked = super::Asked { name: name.into(), options: std::collections::BTreeMap::new() };
    match asked.place(folder) {
        Ok(super::Place::Registry(reference)) => format!("{}/{}", reference.registry, reference.repository),
        Ok(super::Place::Folder(path)) => format!("./{path}"),
        Err(_) => name.to_owned(),
    }
}
