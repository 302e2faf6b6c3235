//! One `git cat-file` that answers what we ask, in order. Questions go ahead of answers, so that it never waits for us.

use std::{io, process::Stdio};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    process::{ChildStdin, ChildStdout, Command},
    sync::mpsc,
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    error::DiffError,
    git::{Git, soon},
};

/// Questions that wait for git to read them.
pub(super) const QUESTIONS: usize = 64;
/// Longest first line of an answer: it repeats the question.
const HEAD_MAX: u64 = 1024;

/// A `git cat-file` that answers questions about objects.
#[derive(Debug)]
pub(super) struct Objects {
    questions: mpsc::Sender<String>,
    answers: BufReader<ChildStdout>,
    _write: AbortOnDropHandle<()>,
    _git: Git,
}

/// git's answer about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Info {
    pub(super) id: String,
    pub(super) size: u64,
}

impl Objects {
    /// Starts git; `git` is a command on the repository.
    pub(super) fn start(mut git: Command) -> Result<Self, DiffError> {
        git.args(["cat-file", "--batch-command"]);
        let mut git = Git::start(&git, Stdio::piped())?;
        let (Some(stdin), Some(stdout)) = (git.stdin.take(), git.stdout.take()) else {
            return Err(io::Error::other("its pipes are missing").into());
        };
        let (questions, asked) = mpsc::channel(QUESTIONS);
        let write = AbortOnDropHandle::new(tokio::spawn(write(stdin, asked)));
        Ok(Self { questions, answers: BufReader::with_capacity(64 << 10, stdout), _write: write, _git: git })
    }

    /// Asks what an object is. Its name has no line feed. Whoever asks more than [`QUESTIONS`] without reading answers waits
    /// for ever.
    pub(super) async fn ask_info(&self, name: &str) -> Result<(), DiffError> {
        self.ask(format!("info {name}\n")).await
    }

    /// Asks for an object's contents.
    pub(super) async fn ask_contents(&self, id: &str) -> Result<(), DiffError> {
        self.ask(format!("contents {id}\n")).await
    }

    async fn ask(&self, question: String) -> Result<(), DiffError> {
        self.questions.send(question).await.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe).into())
    }

    /// The next answer to [`Objects::ask_info`]; None: there is no such object.
    pub(super) async fn info(&mut self) -> Result<Option<Info>, DiffError> {
        soon(self.head()).await
    }

    /// The next answer to [`Objects::ask_contents`]; None: there is no such object.
    pub(super) async fn contents(&mut self, max: u64) -> Result<Option<Bytes>, DiffError> {
        let Some(Info { size, .. }) = self.info().await? else { return Ok(None) };
        if size > max {
            return Err(unexpected("an object is larger than it was"));
        }
        let length = usize::try_from(size).map_err(|_| unexpected("an object is too large"))?;
        let mut bytes = BytesMut::zeroed(length + 1);
        soon(self.answers.read_exact(&mut bytes)).await?;
        bytes.truncate(length);
        Ok(Some(bytes.freeze()))
    }

    async fn head(&mut self) -> Result<Option<Info>, DiffError> {
        let mut line = vec![];
        (&mut self.answers).take(HEAD_MAX).read_until(b'\n', &mut line).await?;
        let line = String::from_utf8_lossy(&line);
        let Some(line) = line.strip_suffix('\n') else { return Err(unexpected("it ended early")) };
        if line.ends_with(" missing") || line.ends_with(" ambiguous") {
            return Ok(None);
        }
        match line.split(' ').collect::<Vec<_>>()[..] {
            [id, _kind, size] => {
                let size = size.parse().map_err(|_| unexpected("a size is no number"))?;
                Ok(Some(Info { id: id.into(), size }))
            }
            _ => Err(unexpected("an answer has another form")),
        }
    }
}

fn unexpected(what: &str) -> DiffError {
    DiffError::Failed(format!("git cat-file: {what}"))
}

async fn write(mut stdin: ChildStdin, mut questions: mpsc::Receiver<String>) {
    while let Some(question) = questions.recv().await {
        // Whoever waits for the answer sees that the process has ended.
        if stdin.write_all(question.as_bytes()).await.is_err() {
            return;
        }
    }
}
