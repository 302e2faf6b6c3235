use std::{io, os::unix::fs::MetadataExt as _, path::PathBuf, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, stream};
use pilothouse_proto::hostd::v1::{LogRequest, LogResponse};
use tokio::{
    io::AsyncReadExt as _,
    time::{Interval, interval},
};
use tonic::{Code, Status};

use super::{
    Api,
    status::status,
    streams::{Answers, until_closing},
};
use crate::terminals::log_files;

/// Largest piece of a log in one message, in bytes.
const PIECE: usize = 64 << 10;

/// Pause between two looks at a log that is followed.
const AGAIN: Duration = Duration::from_millis(250);
/// Most bytes of what a serial console said that are looked for in what it says later.
const KNOWN_AGAIN: usize = 1024;

/// The terminal's log from the oldest byte kept on, or what the guest's serial console said lately.
pub(super) async fn log(api: &Api, request: LogRequest) -> Result<Answers<LogResponse>, Status> {
    let directory = api.fleet.directory(&request.id)?;
    let answers = if request.follow {
        let [older, newest] = log_files(&directory);
        let (api, id) = (api.clone(), request.id);
        match request.serial {
            true => follow_serial(api, id, directory.join("serial.log")),
            false => Box::pin(files(vec![older]).chain(follow_file(api, id, newest))),
        }
    } else if !request.serial {
        files(log_files(&directory).into())
    } else if let Some(bytes) = api.fleet.serial(&request.id).await? {
        memory(bytes.into())
    } else {
        files(vec![directory.join("serial.log")])
    };
    Ok(until_closing(answers, &api.closing))
}

fn memory(bytes: Bytes) -> Answers<LogResponse> {
    let pieces: Vec<_> =
        (0..bytes.len()).step_by(PIECE).map(|from| bytes.slice(from..bytes.len().min(from + PIECE))).collect();
    Box::pin(stream::iter(pieces.into_iter().map(|data| Ok(LogResponse { data }))))
}

/// Sends one file after the other; those that are not there are left out.
fn files(paths: Vec<PathBuf>) -> Answers<LogResponse> {
    Box::pin(stream::iter(paths).flat_map(|path| {
        let opened = stream::once(async move { (tokio::fs::File::open(&path).await, path) });
        opened.flat_map(|(opened, path)| match opened {
            Ok(file) => contents(file, path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Box::pin(stream::empty()),
            Err(error) => Box::pin(stream::once(std::future::ready(Err(failed(&path, &error))))),
        })
    }))
}

fn contents(file: tokio::fs::File, path: PathBuf) -> Answers<LogResponse> {
    Box::pin(stream::unfold(Some((file, path)), |open| async move {
        let (mut file, path) = open?;
        let mut data = BytesMut::with_capacity(PIECE);
        match file.read_buf(&mut data).await {
            Ok(0) => None,
            Ok(_) => Some((Ok(LogResponse { data: data.freeze() }), Some((file, path)))),
            Err(error) => Some((Err(failed(&path, &error)), None)),
        }
    }))
}

/// A file that grows, and makes room for another of its name, as long as its session is there.
struct Tail {
    api: Api,
    id: String,
    path: PathBuf,
    file: Option<tokio::fs::File>,
    again: Interval,
}

fn follow_file(api: Api, id: String, path: PathBuf) -> Answers<LogResponse> {
    let tail = Tail { api, id, path, file: None, again: interval(AGAIN) };
    Box::pin(stream::unfold(tail, |mut tail| async move {
        let next = tail.next().await.transpose()?;
        let next = next.map(|data| LogResponse { data }).map_err(|error| failed(&tail.path, &error));
        Some((next, tail))
    }))
}

impl Tail {
    /// The next bytes; None: the session is gone.
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if self.file.is_none() {
                self.file = match tokio::fs::File::open(&self.path).await {
                    Ok(file) => Some(file),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                    Err(error) => return Err(error),
                };
            }
            if let Some(file) = &mut self.file {
                // Before it is read, so that nothing which is written between is missed.
                let replaced = replaced(file, &self.path).await?;
                let mut data = BytesMut::with_capacity(PIECE);
                if file.read_buf(&mut data).await? > 0 {
                    return Ok(Some(data.freeze()));
                }
                if replaced {
                    self.file = None;
                    continue;
                }
            }
            if self.api.fleet.directory(&self.id).is_err() {
                return Ok(None);
            }
            self.again.tick().await;
        }
    }
}

/// Whether the path names another file than the open one by now.
async fn replaced(file: &tokio::fs::File, path: &std::path::Path) -> io::Result<bool> {
    let own = file.metadata().await?;
    Ok(match tokio::fs::metadata(path).await {
        Ok(now) => (now.dev(), now.ino()) != (own.dev(), own.ino()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(error),
    })
}

/// What a serial console says as long as its session is there, through all of its VMs; while none runs, what was kept.
fn follow_serial(api: Api, id: String, kept: PathBuf) -> Answers<LogResponse> {
    let state = (api, id, kept, Vec::new(), interval(AGAIN));
    Box::pin(stream::unfold(state, |(api, id, kept, mut said, mut again)| async move {
        loop {
            let now = match api.fleet.serial(&id).await.ok()? {
                Some(now) => now,
                None => tokio::fs::read(&kept).await.unwrap_or_default(),
            };
            let news = Bytes::copy_from_slice(news(&said, &now));
            said = now;
            if !news.is_empty() {
                return Some((Ok(LogResponse { data: news }), (api, id, kept, said, again)));
            }
            again.tick().await;
        }
    }))
}

/// The part of a console's text `now` that came after `said`, whose beginning may be gone from it.
fn news<'a>(said: &[u8], now: &'a [u8]) -> &'a [u8] {
    if let Some(rest) = now.strip_prefix(said) {
        return rest;
    }
    let known = &said[said.len().saturating_sub(KNOWN_AGAIN)..];
    let found = now.windows(known.len().max(1)).rposition(|part| part == known);
    found.map_or(now, |at| &now[at + known.len()..])
}

fn failed(path: &std::path::Path, error: &io::Error) -> Status {
    status(Code::Internal, "FILE", format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_serial_console_says_is_told_once() {
        assert_eq!(news(b"", b"boot"), b"boot");
        assert_eq!(news(b"boot", b"boot ok"), b" ok");
        assert_eq!(news(b"boot", b"boot"), b"");
        // Its beginning made room, and another VM's begins anew.
        assert_eq!(news(b"boot ok", b"ot ok, more"), b"ot ok, more");
        let long: Vec<u8> = (0..4000_u32).flat_map(u32::to_le_bytes).collect();
        assert_eq!(news(&long[..12_000], &long[8000..]), &long[12_000..]);
        assert_eq!(news(&long, b"boot"), b"boot");
    }
}
