//! The hook that guards branches. It is hostd's, outside every repository, and given to git by `core.hooksPath`.

use std::{
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::fs;

/// What may be pushed to, below `refs/heads/`.
pub(crate) const PREFIX_VARIABLE: &str = "PILOTHOUSE_BRANCH_PREFIX";
/// Who pushes, for the message.
pub(crate) const SLUG_VARIABLE: &str = "PILOTHOUSE_SLUG";

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

/// Writes the hooks below `root` and returns their folder, for `core.hooksPath`.
///
/// # Errors
/// When they cannot be written, or cannot be run there: git would pass over a hook that does not run, and let all through.
pub(crate) async fn install(root: &Path) -> io::Result<PathBuf> {
    let folder = root.join("hooks");
    fs::create_dir_all(&folder).await?;
    let (hook, fresh) = (folder.join("pre-receive"), folder.join(".pre-receive.new"));
    fs::write(&fresh, PRE_RECEIVE).await?;
    fs::set_permissions(&fresh, PermissionsExt::from_mode(0o555)).await?;
    fs::rename(&fresh, &hook).await?;
    prove(&hook).await?;
    Ok(folder)
}

/// Runs the hook with nothing to refuse. (Just written files are sometimes busy for a moment: another thread's fork holds
/// them open until it execs.)
async fn prove(hook: &Path) -> io::Result<()> {
    let mut attempts = 0;
    loop {
        let mut command = tokio::process::Command::new(hook);
        command.env_clear().env(PREFIX_VARIABLE, "x").env(SLUG_VARIABLE, "x");
        match command.stdin(Stdio::null()).kill_on_drop(true).status().await {
            Ok(status) if status.success() => return Ok(()),
            Ok(status) => return Err(io::Error::other(format!("{}: {status}", hook.display()))),
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy && attempts < 100 => attempts += 1,
            Err(error) => return Err(io::Error::new(error.kind(), format!("{}: {error}", hook.display()))),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
