//! A session's working tree, read by git in its guest: what it has and its merge base has not, as a pack.

use std::{io, time::Duration};

use bytes::{Buf as _, Bytes};
use hostd_core::{recipe::ROOT, text};
use pilothouse_proto::guest::v1::{
    ExecRequest, ExecResponse, ExecStart, Exit, exec_request::Request, exec_response::Response,
    guest_client::GuestClient,
};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _},
    sync::mpsc,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Channel};

use super::{error::DiffError, trees::is_id};

/// Script that is run in the guest.
const SCRIPT: &str = include_str!("take.sh");
/// First word of what the script prints.
const MAGIC: &str = "pilothouse-diff";
/// Longest first line of what the script prints, in bytes.
const HEAD_MAX: usize = 256;
/// Most bytes that are kept of what the script says on stderr.
const STDERR_MAX: usize = 1024;

/// A session's working tree in a guest.
#[derive(Clone, Debug)]
pub struct WorkingTree {
    /// Client of the guest.
    pub guest: GuestClient<Channel>,
    /// Name of its repository in the local forge.
    pub repository: String,
    /// Absolute path of the working tree in the guest.
    pub path: String,
    /// Branch that the working tree is compared with; empty: the branch that its clone was made of.
    pub branch: String,
    /// User in the guest who owns the working tree; empty: root. git reads the tree as that user.
    pub user: String,
    /// Whether the guest is a copy of a suspended one: git runs beside processes that are frozen.
    pub frozen: bool,
}

/// What the guest says of the pack that it sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Id of the merge base.
    pub(super) base: String,
    /// Id of the working tree's tree.
    pub(super) tree: String,
    /// What could not be read, in words for a person.
    pub(super) missing: String,
}

/// Reads a working tree within this time; its pack, of at most `max` bytes, goes to `sink`.
pub(super) async fn take(
    from: &WorkingTree,
    max: u64,
    within: Duration,
    sink: impl AsyncWrite + Unpin,
) -> Result<Head, DiffError> {
    let late = || DiffError::WorkingTree(format!("it took longer than {} s", within.as_secs()));
    timeout(within, pass(from, max, sink)).await.map_err(|_| late())?
}

async fn pass(from: &WorkingTree, max: u64, mut sink: impl AsyncWrite + Unpin) -> Result<Head, DiffError> {
    let foreign = |status: tonic::Status| DiffError::WorkingTree(text::clean(status.message(), STDERR_MAX));
    let limit = max.to_string();
    let command = ["sh", "-c", SCRIPT, "sh", &from.path, &from.branch, &limit].map(str::to_owned).to_vec();
    let user = if from.user.is_empty() { ROOT.into() } else { from.user.clone() };
    let start = ExecStart { command, directory: "/".into(), beside_frozen: from.frozen, user, ..ExecStart::default() };
    // The sender lives as long as the command: the end of the requests would say that nobody wants it any more.
    let (requests, receiver) = mpsc::channel(2);
    for request in [Request::Start(start), Request::StdinEnd(true)] {
        let sent = requests.send(ExecRequest { request: Some(request) }).await;
        sent.map_err(|_| DiffError::WorkingTree("the request went nowhere".into()))?;
    }
    let mut answers = from.guest.clone().exec(ReceiverStream::new(receiver)).await.map_err(foreign)?.into_inner();
    let (mut head, mut said, mut left) = (HeadLine::default(), vec![], max);
    while let Some(answer) = next(&mut answers).await.map_err(foreign)? {
        match answer {
            Response::Stdout(bytes) => {
                let mut pack = head.take(bytes)?;
                let length = pack.len() as u64;
                left = left.checked_sub(length).ok_or_else(|| too_much(max))?;
                sink.write_all_buf(&mut pack).await?;
            }
            Response::Stderr(bytes) => {
                let room = STDERR_MAX - said.len();
                said.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
            Response::Exit(Exit { code: 0, .. }) => {
                sink.shutdown().await?;
                return head.whole();
            }
            Response::Exit(Exit { code, .. }) => {
                let said = text::clean(String::from_utf8_lossy(&said).trim(), STDERR_MAX);
                let said = if said.is_empty() { format!("git there ended with exit code {code}") } else { said };
                return Err(DiffError::WorkingTree(said));
            }
        }
    }
    Err(DiffError::WorkingTree("its VM ended meanwhile, or the connection to its guest broke".into()))
}

async fn next(answers: &mut Streaming<ExecResponse>) -> Result<Option<Response>, tonic::Status> {
    while let Some(answer) = answers.message().await? {
        if let Some(response) = answer.response {
            return Ok(Some(response));
        }
    }
    Ok(None)
}

fn too_much(max: u64) -> DiffError {
    let help = "have what is made and not written ignored by .gitignore";
    DiffError::WorkingTree(format!("it has more than {} MiB that its merge base has not; {help}", max >> 20))
}

/// The first line of what the script prints.
#[derive(Debug, Default)]
struct HeadLine {
    line: Vec<u8>,
    ended: bool,
}

impl HeadLine {
    /// Takes the line out of the output; what is left is the pack's.
    fn take(&mut self, mut bytes: Bytes) -> Result<Bytes, DiffError> {
        if self.ended {
            return Ok(bytes);
        }
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let part = end.unwrap_or(bytes.len());
        if self.line.len() + part > HEAD_MAX {
            return Err(malformed());
        }
        self.line.extend_from_slice(&bytes[..part]);
        self.ended = end.is_some();
        bytes.advance((part + 1).min(bytes.len()));
        Ok(bytes)
    }

    fn whole(&self) -> Result<Head, DiffError> {
        let line = std::str::from_utf8(&self.line).map_err(|_| malformed())?;
        let [MAGIC, base, tree, missing] = line.split(' ').collect::<Vec<_>>()[..] else { return Err(malformed()) };
        if !is_id(base) || !is_id(tree) {
            return Err(malformed());
        }
        let told = |word: &str, what: &str| missing.split(',').any(|m| m == word).then(|| what.to_owned());
        let missing = [
            told("unread", "some files could not be read by git in the session"),
            told("large", "contents of large files were left out: too much changed"),
        ];
        let missing = missing.into_iter().flatten().collect::<Vec<_>>().join("; ");
        Ok(Head { base: base.to_ascii_lowercase(), tree: tree.to_ascii_lowercase(), missing })
    }
}

/// Feeds the script's output in pieces, for the fuzz targets; returns how many bytes of it are the pack's.
///
/// # Errors
/// It does not begin as it should.
#[cfg(fuzzing)]
pub fn head_line(pieces: impl Iterator<Item = Vec<u8>>) -> Result<usize, DiffError> {
    let mut head = HeadLine::default();
    let mut pack = 0;
    for piece in pieces {
        pack += head.take(piece.into())?.len();
    }
    head.whole().map(|_| pack)
}

fn malformed() -> DiffError {
    io::Error::new(io::ErrorKind::InvalidData, "the guest's answer has another form").into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn heads_may_come_in_any_pieces(cut in 0_usize..120, pack: Vec<u8>) {
            let (base, tree) = ("a".repeat(40), "b".repeat(40));
            let mut all = format!("{MAGIC} {base} {tree} unread,large\n").into_bytes();
            all.extend_from_slice(&pack);
            let all = Bytes::from(all);
            let mut head = HeadLine::default();
            let (first, second) = (all.slice(..cut.min(all.len())), all.slice(cut.min(all.len())..));
            let rest = [head.take(first).unwrap(), head.take(second).unwrap()].concat();
            prop_assert_eq!(rest, pack);
            let head = head.whole().unwrap();
            prop_assert_eq!((head.base, head.tree), (base, tree));
            prop_assert!(head.missing.contains("could not be read") && head.missing.contains("left out"));
        }

        #[test]
        fn any_bytes_are_read_or_refused(pieces: Vec<Vec<u8>>) {
            let mut head = HeadLine::default();
            let all: Result<Vec<_>, _> = pieces.into_iter().map(|piece| head.take(piece.into())).collect();
            prop_assert!(all.is_err() || head.whole().is_err());
        }
    }
}
