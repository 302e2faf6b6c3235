//! The agent in a build's guest: its user, the files of its profile, and whether its program is there and the right one.

use super::{
    exec::{self, Inside},
    progress::Progress,
    types::EnvironmentError,
};
use hostd_core::{
    Recipe,
    profile::{Check, File, Profile},
    recipe::ROOT,
};

/// Script that looks for the agent's program in a guest.
const CHECK_AGENT: &str = include_str!("agent.sh");
/// Script that makes the agent's user.
const MAKE_USER: &str = include_str!("user.sh");
/// Script that writes a file of a profile.
const WRITE_FILE: &str = include_str!("file.sh");

/// Gives the working tree to the agent's user, who is made where there is none once the setup is done; and writes the files of
/// the agent's profile.
pub(super) async fn settle_in(inside: &Inside, recipe: &Recipe, progress: &Progress) -> Result<(), EnvironmentError> {
    let user = &recipe.user;
    progress.step(format!("check the agent `{}` of {user}", hostd_core::text::one_line(&recipe.agent.command[0])));
    hand_over(inside, recipe, progress).await?;
    match &recipe.profile {
        Some(profile) => write_files(inside, recipe, profile, progress).await,
        None => Ok(()),
    }
}

/// Makes the agent's user where there is none, and gives it the working tree.
pub(super) async fn hand_over(inside: &Inside, recipe: &Recipe, progress: &Progress) -> Result<(), EnvironmentError> {
    let user = &recipe.user;
    if user != ROOT && !recipe.lacks_shell() {
        let sudo = if recipe.sudo { "yes" } else { "no" };
        exec::run(inside, &["sh", "-c", MAKE_USER, "sh", user, sudo], "/", progress).await?;
    }
    if exec::nothing(inside, user, progress).await?.is_some() {
        return Err(progress.failure("the recipe's `user` cannot run a program"));
    }
    if let Some(repository) = recipe.repository.as_ref().filter(|_| user != ROOT) {
        let owner = format!("{user}:");
        exec::run(inside, &["chown", "-Rh", &owner, "--", &repository.path], "/", progress).await?;
    }
    Ok(())
}

/// Writes the files of a profile: in the home as the agent's user, elsewhere as root.
async fn write_files(
    inside: &Inside,
    recipe: &Recipe,
    profile: &Profile,
    progress: &Progress,
) -> Result<(), EnvironmentError> {
    if profile.files.is_empty() {
        return Ok(());
    }
    let user = &recipe.user;
    let home = exec::said(inside, user, &["sh", "-c", "printf %s \"$HOME\""], progress).await?;
    if !home.starts_with('/') {
        return Err(progress.failure(&format!("the user {user} has no home for the agent's files")));
    }
    let tree = recipe.repository.as_ref().map(|repository| format!("{}/", repository.path));
    for (file, raw) in profile.files_in(recipe.directory(), &home).iter().zip(&profile.files) {
        let File { path, mode, text } = file;
        // A file in there would be taken for the agent's work.
        if tree.as_ref().is_some_and(|tree| path.starts_with(tree)) {
            return Err(progress.failure(&format!("{path} of the profile would be in the repository's working tree")));
        }
        let writer = if raw.path.starts_with("~/") { user } else { ROOT };
        let mode = format!("{mode:o}");
        let command = ["sh", "-c", WRITE_FILE, "sh", path, text, &mode];
        if let Some(end) = exec::run_as(inside, writer, &command, "/", progress).await? {
            return Err(progress.failure(&format!("{path} of the profile could not be written: sh {end}")));
        }
    }
    Ok(())
}

/// Checks whether sessions will be able to start their agent, as the user and in the folder that it will have, and whether its
/// program is the one that the profile means.
pub(super) async fn check(inside: &Inside, recipe: &Recipe, progress: &Progress) -> Result<(), EnvironmentError> {
    if recipe.lacks_shell() {
        progress.output("the image has no shell: whether the agent can be started is seen when a session does".into());
        return Ok(());
    }
    let command = ["sh", "-c", CHECK_AGENT, "sh", &recipe.agent.command[0]];
    if exec::run_as(inside, &recipe.user, &command, recipe.directory(), progress).await?.is_some() {
        return Err(progress.failure(
            "the agent could not be started; have `base.packages` or `setup` install it, or correct `agent.command`",
        ));
    }
    let Some(Check { command, prints }) = recipe.profile.as_ref().and_then(|profile| profile.check.as_ref()) else {
        return Ok(());
    };
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let said = exec::said(inside, &recipe.user, &words, progress).await?;
    if is_said(prints, &said) {
        progress.output(format!("{}: {}", command.join(" "), hostd_core::text::one_line(said.trim())));
        return Ok(());
    }
    let said = hostd_core::text::one_line(&hostd_core::text::clean(said.trim(), 200));
    let why = format!("`{}` prints {said:?}, and not {prints}, which the agent's profile wants", command.join(" "));
    Err(progress.failure(&why))
}

/// Whether this version is a word of what was said.
fn is_said(version: &str, said: &str) -> bool {
    said.split(|c: char| c.is_whitespace() || "(),".contains(c)).any(|word| word.trim_end_matches('.') == version)
}

#[cfg(test)]
mod tests {
    use super::is_said;

    #[test]
    fn a_version_is_a_whole_word() {
        assert!(is_said("0.171.0", "codex-cli 0.171.0\n") && is_said("2.1.332", "2.1.332 (Claude Code)"));
        assert!(is_said("1.0.102", "GitHub Copilot CLI 1.0.102.\nRun 'copilot update'"));
        assert!(!is_said("1.0.10", "GitHub Copilot CLI 1.0.102.") && !is_said("2.1.332", ""));
    }
}
