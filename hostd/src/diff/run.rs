//! One difference: the list first, then the files.

use std::{collections::VecDeque, ffi::OsStr, io, os::unix::ffi::OsStrExt as _, process::Stdio, sync::Arc};

use bytes::BytesMut;
use hostd_core::diff::{Change, Mode, RawChanges, Status};
use tokio::{
    io::AsyncReadExt as _,
    sync::{Semaphore, mpsc},
    time::timeout,
};

use super::{
    contents::{Comparison, Wanted},
    error::DiffError,
    git::{DEADLINE, Git, soon},
    objects::{Objects, QUESTIONS},
    trees::Trees,
    types::{Answer, Detail, File, Start, Wish},
};

/// Most files that are listed.
const FILES_MAX: usize = 100_000;
/// Files in one answer of the list; each takes two questions.
const FILES_AT_A_TIME: usize = QUESTIONS / 2;
/// Answers with files are gathered up to this before they are sent, but for the first.
const FILES_SENT: usize = 512;
/// Files whose contents are asked for ahead; each takes two questions.
const AHEAD: usize = 16;
/// Bytes of git's list that are read at a time.
const LIST_BYTES: usize = 64 << 10;
/// More files than this on both sides are not looked at for renames with changes: the time grows with their product.
const RENAMES: &str = "-l1000";

type Out = mpsc::Sender<Result<Answer, DiffError>>;

/// Answers until everything is said or nobody listens.
pub(super) async fn run(trees: Trees, start: Start, objects: Objects, wish: Wish, large: Arc<Semaphore>, out: Out) {
    let mut difference = Difference { trees, objects, wish, large, out: out.clone(), files: vec![] };
    let result = tokio::select! {
        result = difference.all(start) => result,
        () = out.closed() => Ok(()),
    };
    match result {
        Ok(()) | Err(Stop::Unheard) => {}
        Err(Stop::Failed(error)) => drop(out.send(Err(error)).await),
    }
}

/// Why no more answers are sent.
enum Stop {
    Unheard,
    Failed(DiffError),
}

impl<E: Into<DiffError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

struct Difference {
    trees: Trees,
    objects: Objects,
    wish: Wish,
    large: Arc<Semaphore>,
    out: Out,
    files: Vec<File>,
}

impl Difference {
    async fn all(&mut self, start: Start) -> Result<(), Stop> {
        self.say(Answer::Start(start)).await?;
        let cut = match self.list("-M").await {
            // Comparing contents for renames fails where some are missing, or too large for git's memory here.
            Err(Stop::Failed(DiffError::Failed(why))) if self.files.is_empty() => {
                tracing::debug!(why, "renames are found by equal contents only");
                self.list("-M100%").await?
            }
            listed => listed?,
        };
        let count = u32::try_from(self.files.len()).unwrap_or(u32::MAX);
        self.say(Answer::Listed { files: count, cut }).await?;
        if self.wish.detail == Detail::List {
            return self.say(Answer::End(0)).await;
        }
        self.compare().await?;
        self.say(Answer::End(count)).await
    }

    async fn say(&self, answer: Answer) -> Result<(), Stop> {
        self.out.send(Ok(answer)).await.map_err(|_| Stop::Unheard)
    }

    /// Lists the files with their sizes; returns whether there are more than are listed.
    async fn list(&mut self, renames: &str) -> Result<bool, Stop> {
        let mut git = self.trees.git();
        git.args(["diff-tree", "-r", "--raw", "-z", "--no-abbrev", "--ignore-submodules=none", renames, RENAMES]);
        git.args([&self.trees.old, &self.trees.new]).arg("--");
        git.args(self.wish.paths.iter().map(|path| OsStr::from_bytes(path)));
        let mut git = Git::start(&git, Stdio::null())?;
        let Some(mut stdout) = git.stdout.take() else { return Err(io::Error::other("its output is missing").into()) };
        let (mut raw, mut waiting, mut told) = (RawChanges::default(), vec![], 0);
        let mut bytes = BytesMut::with_capacity(LIST_BYTES);
        loop {
            bytes.clear();
            let read = soon(stdout.read_buf(&mut bytes)).await?;
            if read == 0 {
                break;
            }
            waiting.extend(raw.push(&bytes)?.into_iter().flat_map(parts));
            while waiting.len() >= FILES_AT_A_TIME {
                let rest = waiting.split_off(FILES_AT_A_TIME);
                if self.add(std::mem::replace(&mut waiting, rest)).await? {
                    self.tell(&mut told).await?;
                    return Ok(true);
                }
                if told == 0 || self.files.len() - told >= FILES_SENT {
                    self.tell(&mut told).await?;
                }
            }
        }
        git.finish().await?;
        raw.end()?;
        let cut = self.add(waiting).await?;
        self.tell(&mut told).await?;
        Ok(cut)
    }

    /// Sends the files that were added to the list since the last call.
    async fn tell(&mut self, told: &mut usize) -> Result<(), Stop> {
        let files = self.files[*told..].to_vec();
        *told = self.files.len();
        if files.is_empty() { Ok(()) } else { self.say(Answer::Files(files)).await }
    }

    /// Adds files to the list after asking for their sizes; returns whether no more fit.
    async fn add(&mut self, changes: Vec<Change>) -> Result<bool, Stop> {
        let full = self.files.len() + changes.len() > FILES_MAX;
        let changes: Vec<Change> = changes.into_iter().take(FILES_MAX - self.files.len()).collect();
        for change in &changes {
            for (id, mode) in [(&change.old_id, change.old_mode), (&change.new_id, change.new_mode)] {
                if has_contents(mode) {
                    self.objects.ask_info(id).await?;
                }
            }
        }
        for change in changes {
            let mut sizes = [Some(0), Some(0)];
            for (size, mode) in sizes.iter_mut().zip([change.old_mode, change.new_mode]) {
                if has_contents(mode) {
                    *size = self.objects.info().await?.map(|info| info.size);
                }
            }
            let number = u32::try_from(self.files.len()).unwrap_or(u32::MAX);
            self.files.push(File { number, change, old_bytes: sizes[0], new_bytes: sizes[1] });
        }
        Ok(full)
    }

    /// Compares the files in order; their contents are asked for ahead.
    async fn compare(&mut self) -> Result<(), Stop> {
        let files = std::mem::take(&mut self.files);
        let mut next = files.into_iter();
        let mut ahead = VecDeque::with_capacity(AHEAD);
        loop {
            while ahead.len() < AHEAD
                && let Some(file) = next.next()
            {
                let wanted = Wanted::of(file);
                for id in wanted.ids() {
                    self.objects.ask_contents(id).await?;
                }
                ahead.push_back(wanted);
            }
            let Some(wanted) = ahead.pop_front() else { return Ok(()) };
            self.file(wanted).await?;
        }
    }

    async fn file(&mut self, wanted: Wanted) -> Result<(), Stop> {
        // Held until its last piece is taken: its contents stay in memory so long.
        let place = if wanted.is_large() {
            let place = timeout(DEADLINE, self.large.clone().acquire_owned()).await;
            Some(place.map_err(|_| DiffError::Busy)?.map_err(|_| DiffError::Busy)?)
        } else {
            None
        };
        let contents = wanted.read(&mut self.objects).await?;
        let mut comparison = Comparison::new(wanted, contents, &self.wish);
        loop {
            let (rest, piece) = tokio::task::spawn_blocking(move || comparison.piece())
                .await
                .map_err(|_| DiffError::Failed("comparing a file panicked".into()))?;
            self.say(Answer::Piece(piece)).await?;
            match rest {
                Some(rest) => comparison = rest,
                None => break,
            }
        }
        drop(place);
        Ok(())
    }
}

/// Whether a path of this mode has an object here.
pub(super) fn has_contents(mode: Mode) -> bool {
    mode.exists() && !mode.is_submodule()
}

/// Splits what became another kind of thing into a removal and an addition, as `git diff` does.
fn parts(change: Change) -> Vec<Change> {
    if change.status != Status::TypeChanged {
        return vec![change];
    }
    let none = "0".repeat(change.old_id.len());
    let gone = Change { status: Status::Deleted, new_mode: Mode(0), new_id: none.clone(), ..change.clone() };
    let new = Change { status: Status::Added, old_mode: Mode(0), old_id: none, ..change };
    vec![gone, new]
}
