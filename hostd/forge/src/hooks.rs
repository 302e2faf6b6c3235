//! The hooks that guard branches, of what guests push and of what people push. They are hostd's, outside every repository, and
//! given to git by `core.hooksPath`.

use std::{
    io::{self, Write as _},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::fs;

/// Variable with the prefix of the branches below `refs/heads/` that a guest may push to.
pub const PREFIX_VARIABLE: &str = "PILOTHOUSE_BRANCH_PREFIX";
/// Variable with the slug of the session that pushes, for the message.
pub const SLUG_VARIABLE: &str = "PILOTHOUSE_SLUG";

/// Refuses the whole push if one of its refs is out of bounds. `${X:?}` ends it where a variable is missing or empty, so
/// that a mistake of ours refuses.
const PRE_RECEIVE: &str = r#"#!/bin/sh
: "${PILOTHOUSE_BRANCH_PREFIX:?}" "${PILOTHOUSE_SLUG:?}"
status=0
while read -r old new ref; do
    case "$ref" in
    "refs/heads/$PILOTHOUSE_BRANCH_PREFIX"?*) ;;
    *)
        echo "pilothouse: $PILOTHOUSE_SLUG may push to refs/heads/$PILOTHOUSE_BRANCH_PREFIX* only; $ref was refused" >&2
        status=1
        ;;
    esac
done
exit $status
"#;

/// Variable with the name of the repository that a person pushes to, for the message.
pub(super) const REPOSITORY_VARIABLE: &str = "PILOTHOUSE_REPOSITORY";
/// Variable with the repository's default branch; empty: it has none.
pub(super) const DEFAULT_BRANCH_VARIABLE: &str = "PILOTHOUSE_DEFAULT_BRANCH";
/// Variable with what people may push to the default branch: a word of [`hostd_core::pulls::DirectPush`].
pub(super) const DIRECT_PUSH_VARIABLE: &str = "PILOTHOUSE_DIRECT_PUSH";

/// Refuses a person's push to other refs than branches and tags, and to the default branch what the repository's rules forbid.
const PEOPLES_PRE_RECEIVE: &str = r#"#!/bin/sh
: "${PILOTHOUSE_REPOSITORY:?}" "${PILOTHOUSE_DIRECT_PUSH:?}" "${PILOTHOUSE_DEFAULT_BRANCH?}"
status=0
refuse() {
    echo "pilothouse: $*" >&2
    status=1
}
default() {
    case "$PILOTHOUSE_DIRECT_PUSH" in
    any) return ;;
    fast-forward) ;;
    *)
        refuse "$1 changes by pull requests alone; \`pilothouse repo set $PILOTHOUSE_REPOSITORY --direct-push fast-forward\` allows more"
        return
        ;;
    esac
    case "$3" in *[!0]*) ;; *)
        refuse "$1 is the default branch, and is not deleted"
        return
        ;;
    esac
    case "$2" in *[!0]*) ;; *) return ;; esac
    git merge-base --is-ancestor "$2" "$3" ||
        refuse "$1 takes commits on top of what it has alone: pull first; \`pilothouse repo set $PILOTHOUSE_REPOSITORY --direct-push any\` allows more"
}
while read -r old new ref; do
    case "$ref" in
    "refs/heads/$PILOTHOUSE_DEFAULT_BRANCH") default "$PILOTHOUSE_DEFAULT_BRANCH" "$old" "$new" ;;
    refs/heads/?* | refs/tags/?*) ;;
    *) refuse "people push to refs/heads/ and refs/tags/; $ref was refused" ;;
    esac
done
exit $status
"#;

/// Writes the hooks for guests below `root` and returns their folder, for `core.hooksPath`.
///
/// # Errors
/// When they cannot be written, or cannot be run there: git would pass over a hook that does not run, and let all through.
pub async fn install(root: &Path) -> io::Result<PathBuf> {
    write(root.join("hooks"), PRE_RECEIVE, &[PREFIX_VARIABLE, SLUG_VARIABLE]).await
}

/// Writes the hooks for people below `root` and returns their folder, for `core.hooksPath`.
///
/// # Errors
/// As [`install`].
pub(super) async fn install_for_people(root: &Path) -> io::Result<PathBuf> {
    let needs = [REPOSITORY_VARIABLE, DEFAULT_BRANCH_VARIABLE, DIRECT_PUSH_VARIABLE];
    write(root.join("hooks").join("people"), PEOPLES_PRE_RECEIVE, &needs).await
}

async fn write(folder: PathBuf, script: &str, needs: &[&str]) -> io::Result<PathBuf> {
    fs::create_dir_all(&folder).await?;
    let hook = folder.join("pre-receive");
    if fs::read_to_string(&hook).await.is_ok_and(|there| there == script) {
        prove(&hook, needs).await?;
        return Ok(folder);
    }
    let (place, target, script) = (folder.clone(), hook.clone(), script.to_owned());
    let written = tokio::task::spawn_blocking(move || {
        // Under a name of its own: two may write it at once. Closed before it is run: git could not run it otherwise.
        let mut fresh = tempfile::Builder::new().prefix(".pre-receive.").tempfile_in(place)?;
        fresh.write_all(script.as_bytes())?;
        fresh.as_file().set_permissions(PermissionsExt::from_mode(0o555))?;
        fresh.persist(target)?;
        Ok::<_, io::Error>(())
    });
    written.await.map_err(io::Error::other)??;
    prove(&hook, needs).await?;
    Ok(folder)
}

/// Runs the hook with nothing to refuse. (Just written files are sometimes busy for a moment: another thread's fork holds
/// them open until it execs.)
async fn prove(hook: &Path, needs: &[&str]) -> io::Result<()> {
    let mut attempts = 0;
    loop {
        let mut command = tokio::process::Command::new(hook);
        command.env_clear().envs(needs.iter().map(|name| (name, "x")));
        match command.stdin(Stdio::null()).kill_on_drop(true).status().await {
            Ok(status) if status.success() => return Ok(()),
            Ok(status) => return Err(io::Error::other(format!("{}: {status}", hook.display()))),
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy && attempts < 100 => attempts += 1,
            Err(error) => return Err(io::Error::new(error.kind(), format!("{}: {error}", hook.display()))),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
