//! Packages on a base that is a container image: installed in the build's VM, by whatever package manager the image has.

use hostd_core::{Recipe, recipe::System};

use super::{
    exec::{self, Inside},
    progress::Progress,
    types::EnvironmentError,
};

/// Script that installs what is missing.
const INSTALL: &str = include_str!("packages.sh");

/// Whether a build has to look for packages in its VM.
pub(super) fn wanted(recipe: &Recipe) -> bool {
    let is_image = matches!(recipe.base.system, System::Image { .. } | System::Devcontainer { .. });
    is_image && !(names(recipe).is_empty() && tools(recipe).is_empty())
}

/// Installs what is not there.
pub(super) async fn install(inside: &Inside, recipe: &Recipe, progress: &Progress) -> Result<(), EnvironmentError> {
    let (tools, names) = (tools(recipe).join(" "), names(recipe));
    let mut command = vec!["sh", "-c", INSTALL, "sh", tools.as_str()];
    command.extend(names.iter().copied());
    exec::run(inside, &command, "/", progress).await
}

/// Names of packages that the recipe and its profile ask for.
fn names(recipe: &Recipe) -> Vec<&str> {
    let of_profile = recipe.profile.iter().flat_map(|profile| &profile.packages);
    let mut names: Vec<&str> = recipe.base.packages.iter().chain(of_profile).map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Programs that the build itself or its sessions need.
fn tools(recipe: &Recipe) -> Vec<&str> {
    let mut tools = vec![];
    tools.extend(recipe.repository.iter().map(|_| "git"));
    if recipe.sudo {
        tools.push("sudo");
    }
    tools
}

/// Whether an image that has no shell does for the recipe.
///
/// # Errors
/// What it has no way to do there.
pub(super) fn without_shell(recipe: &Recipe) -> Result<(), String> {
    if !recipe.lacks_shell() {
        return Ok(());
    }
    let files = recipe.profile.as_ref().is_some_and(|profile| !profile.files.is_empty());
    let needs = [
        (wanted(recipe), "packages"),
        (!recipe.setup.is_empty(), "`setup`"),
        (recipe.repository.is_some(), "a `repository`"),
        (files, "the files of the agent's profile"),
        (recipe.sudo, "`sudo`"),
    ];
    match needs.into_iter().find(|(needed, _)| *needed) {
        None => Ok(()),
        Some((_, what)) => Err(format!(
            "the image has no /bin/sh, and the recipe has {what}, which takes one; base it on an image with a shell"
        )),
    }
}
