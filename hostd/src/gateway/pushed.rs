//! What becomes of a push when git has taken it: the forge reads it, and where the recipe says so, branches become pull requests.

use std::{
    collections::BTreeMap,
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hostd_core::{
    UnixMillis,
    pulls::{Author, NewPull, PullState, WhyClosed},
};
use tokio::{io::AsyncReadExt as _, process::Command, sync::broadcast, time::timeout};

use super::{Caller, Denied, Gateway, Refused, cgi::AfterExit};
use crate::{
    clock::now,
    forge::{self, Forge, ForgeError, Mirror, PullFilter},
};

/// Most pull requests that one push opens: who pushes more branches at once did not mean each of them to be one.
const AT_ONCE: usize = 8;
/// Most branches of one push that are tried: one that has nothing of its own becomes no pull request.
const TRIED: usize = 64;
/// Most pull requests that a session has opened within [`HOUR`] where a push of its opens one more.
const IN_AN_HOUR: usize = 20;
/// That time, in milliseconds.
const HOUR: UnixMillis = 3600 * 1000;
/// Most bytes that are read of a commit's message: more than a title and a body may have.
const MESSAGE: u64 = 20 << 10;
/// Most bytes that are read of the list of a session's branches.
const BRANCHES: u64 = 4 << 20;
/// Longest time that git may take for it.
const WITHIN: Duration = Duration::from_secs(30);

/// The commits of branches, by the branches' names.
type Tips = BTreeMap<String, String>;

/// Says that pushes of a session open no more pull requests for now: once within [`HOUR`].
#[derive(Clone, Debug)]
pub(super) struct Bound {
    /// When which session was told, by id.
    told: Arc<Mutex<BTreeMap<String, UnixMillis>>>,
    denials: broadcast::Sender<Denied>,
}

impl Bound {
    pub(super) fn telling(denials: broadcast::Sender<Denied>) -> Self {
        Self { told: Arc::default(), denials }
    }

    fn reached(&self, caller: &Caller, branch: &str) {
        let at = now();
        {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            told.retain(|_, told| *told > at - HOUR);
            if told.contains_key(&caller.session_id) {
                return;
            }
            told.insert(caller.session_id.clone(), at);
        }
        let destination = format!("a pull request for {branch}");
        let why = format!(
            "it has opened {IN_AN_HOUR} within an hour, so its pushes open no more for now; `session pr open --branch {branch}` does"
        );
        tracing::warn!(slug = caller.slug, "refused: {destination}: {why}");
        let refused = Refused { destination, why, count: 1, last_at: at };
        // Where nobody listens, it is in the log.
        let _ = self.denials.send(Denied { session: caller.session_id.clone(), refused });
    }
}

impl Gateway {
    /// What is to be done after a push of this caller, which has not begun.
    pub(super) async fn after_push(&self, caller: &Caller) -> AfterExit {
        let (Some(forge), Some(repository), Some(prefix)) =
            (self.forge.clone(), caller.repository.clone(), caller.branch_prefix.clone())
        else {
            return AfterExit::nothing();
        };
        let (mirror, caller, bound) = (self.mirror.clone(), caller.clone(), self.pushes.clone());
        let before = match &caller.opens_pulls {
            Some(_) => tips(&*mirror, &repository, &prefix).await,
            None => None,
        };
        AfterExit::new(async move {
            let slug = &caller.slug;
            if let Err(error) = forge.refresh(&repository, &prefix).await {
                tracing::warn!(slug, repository, %error, "what was pushed cannot be read yet");
            }
            let Some(base) = &caller.opens_pulls else { return };
            let after = tips(&*mirror, &repository, &prefix).await;
            let (Some(before), Some(after), Some(path)) = (before, after, mirror.repository(&repository)) else {
                tracing::warn!(slug, repository, "no pull request was opened: git does not say what was pushed");
                return;
            };
            let pushed = after.into_iter().filter(|(branch, tip)| before.get(branch) != Some(tip)).map(|(it, _)| it);
            if let Err(error) = open_pulls(&*forge, &path, &caller, pushed.collect(), base, &bound).await {
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

/// Opens a pull request for each of these branches that has none, or whose last one is merged. One that a person has closed stays so.
async fn open_pulls(
    forge: &dyn Forge,
    path: &Path,
    caller: &Caller,
    pushed: Vec<String>,
    base: &str,
    bound: &Bound,
) -> Result<(), ForgeError> {
    let Some(repository) = caller.repository.as_deref() else { return Ok(()) };
    let session = Some(caller.session_id.clone());
    let filter = PullFilter { repository: Some(repository.into()), session, all: true };
    let known = forge.pulls(filter).await?;
    let wants_one = |branch: &String| {
        let last = known.iter().map(|it| &it.pull).filter(|pull| pull.head_branch == *branch);
        last.max_by_key(|pull| pull.number).is_none_or(|pull| is_over(&pull.state))
    };
    let since = now() - HOUR;
    let lately = known.iter().filter(|it| it.pull.created_at > since).count();
    let mut opened = 0;
    for branch in pushed.into_iter().filter(wants_one).take(TRIED) {
        if opened == AT_ONCE {
            break;
        }
        if lately + opened >= IN_AN_HOUR {
            bound.reached(caller, &branch);
            break;
        }
        let (title, body) = message(path, &branch).await;
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
            Ok(it) => {
                opened += 1;
                tracing::info!(slug = caller.slug, number = it.pull.number, "a push has opened a pull request");
            }
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
    let mut git = plain_git(repository);
    git.args(["log", "--max-count=1", "--no-show-signature", "--encoding=UTF-8", "--format=%s%n%b"]);
    git.arg(format!("refs/heads/{branch}")).arg("--");
    let said = said(git, MESSAGE).await.unwrap_or_default();
    let (title, body) = said.split_once('\n').unwrap_or((&said, ""));
    (title.to_owned(), body.trim().to_owned())
}

/// The branches of a repository that begin so, which ends in a slash. None: git does not say.
async fn tips(mirror: &dyn Mirror, repository: &str, prefix: &str) -> Option<Tips> {
    let mut git = plain_git(&mirror.repository(repository)?);
    git.args(["for-each-ref", "--format=%(objectname) %(refname:lstrip=2)"]).arg(format!("refs/heads/{prefix}"));
    let said = said(git, BRANCHES).await?;
    Some(said.lines().filter_map(|line| line.split_once(' ')).map(|(tip, name)| (name.into(), tip.into())).collect())
}

fn plain_git(repository: &Path) -> Command {
    let mut git = forge::git(repository);
    forge::trust(&mut git, repository, &forge::BOUNDS);
    git
}

/// So many bytes of what git says. None: it does not run, or takes too long.
async fn said(mut git: Command, most: u64) -> Option<String> {
    git.stdout(Stdio::piped()).stderr(Stdio::null());
    let read = async {
        let mut child = git.spawn().ok()?;
        let mut said = vec![];
        child.stdout.take()?.take(most).read_to_end(&mut said).await.ok()?;
        Some(String::from_utf8_lossy(&said).into_owned())
    };
    timeout(WITHIN, read).await.ok().flatten()
}
