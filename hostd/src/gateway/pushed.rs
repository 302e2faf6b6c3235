//! What becomes of a push when git has taken it: the forge reads it, and where the recipe says so, branches become pull requests.

use std::{path::Path, process::Stdio, time::Duration};

use hostd_core::pulls::{Author, NewPull, PullState, WhyClosed};
use tokio::{io::AsyncReadExt as _, time::timeout};

use super::{Caller, Gateway, cgi::AfterExit};
use crate::forge::{self, Forge, ForgeError, Mirror, PullFilter};

/// Most pull requests that one push opens: who pushes more branches at once did not mean each of them to be one.
const AT_ONCE: usize = 8;
/// Most bytes that are read of a commit's message: more than a title and a body may have.
const MESSAGE: u64 = 20 << 10;
/// Longest time that git may take for it.
const WITHIN: Duration = Duration::from_secs(30);

impl Gateway {
    /// What is to be done after a push of this caller.
    pub(super) fn after_push(&self, caller: &Caller) -> AfterExit {
        let (Some(forge), Some(repository), Some(prefix)) =
            (self.forge.clone(), caller.repository.clone(), caller.branch_prefix.clone())
        else {
            return AfterExit::nothing();
        };
        let (mirror, caller) = (self.mirror.clone(), caller.clone());
        AfterExit::new(async move {
            let slug = &caller.slug;
            if let Err(error) = forge.refresh(&repository, &prefix).await {
                tracing::warn!(slug, repository, %error, "what was pushed cannot be read yet");
            }
            if let Some(base) = &caller.opens_pulls
                && let Err(error) = open_pulls(&*forge, &*mirror, &caller, &repository, &prefix, base).await
            {
                tracing::warn!(slug, repository, %error, "no pull request was opened for what was pushed");
            }
        })
    }
}

/// Whether what is pushed after that is another pull request.
fn is_over(state: &PullState) -> bool {
    match state {
        PullState::Merged(_) => true,
        PullState::Closed(closing) => closing.why == WhyClosed::HeadGone,
        PullState::Open | PullState::Merging(_) => false,
    }
}

/// Opens a pull request for each branch of the session that has none, or whose last one is merged. One that a person has closed stays so.
async fn open_pulls(
    forge: &dyn Forge,
    mirror: &dyn Mirror,
    caller: &Caller,
    repository: &str,
    prefix: &str,
    base: &str,
) -> Result<(), ForgeError> {
    let Some(path) = mirror.repository(repository) else { return Ok(()) };
    let session = Some(caller.session_id.clone());
    let filter = PullFilter { repository: Some(repository.into()), session, all: true };
    let known = forge.pulls(filter).await?;
    let wants_one = |branch: &String| {
        let last = known.iter().map(|it| &it.pull).filter(|pull| pull.head_branch == *branch);
        last.max_by_key(|pull| pull.number).is_none_or(|pull| is_over(&pull.state))
    };
    let branches = forge.branches(repository, prefix).await?;
    for branch in branches.into_iter().filter(wants_one).take(AT_ONCE) {
        let (title, body) = message(&path, &branch).await;
        let new = NewPull {
            forge: forge.id().clone(),
            repository: repository.into(),
            title,
            body,
            author: Author { session: caller.session_id.clone(), slug: caller.slug.clone() },
            head_branch: branch.clone(),
            base_branch: base.into(),
        };
        match forge.open(new).await {
            Ok(it) => tracing::info!(slug = caller.slug, number = it.pull.number, "a push has opened a pull request"),
            // Such as a branch that has nothing of its own: that is no pull request, and no fault.
            Err(ForgeError::Invalid(why)) => {
                tracing::info!(slug = caller.slug, branch, why, "a push opens no pull request")
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Title and body of the commit that a branch points to. Empty, where git does not say: the branch's name becomes the title then.
async fn message(repository: &Path, branch: &str) -> (String, String) {
    let mut git = forge::git(repository);
    forge::trust(&mut git, repository, &forge::BOUNDS);
    git.args(["log", "--max-count=1", "--no-show-signature", "--encoding=UTF-8", "--format=%s%n%b"]);
    git.arg(format!("refs/heads/{branch}")).arg("--").stdout(Stdio::piped()).stderr(Stdio::null());
    let read = async {
        let mut child = git.spawn().ok()?;
        let mut said = vec![];
        child.stdout.take()?.take(MESSAGE).read_to_end(&mut said).await.ok()?;
        Some(String::from_utf8_lossy(&said).into_owned())
    };
    let said = timeout(WITHIN, read).await.ok().flatten().unwrap_or_default();
    let (title, body) = said.split_once('\n').unwrap_or((&said, ""));
    (title.to_owned(), body.trim().to_owned())
}
