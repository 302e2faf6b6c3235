use std::{io, path::PathBuf};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, stream};
use pilothouse_proto::hostd::v1::{LogRequest, LogResponse};
use tokio::io::AsyncReadExt as _;
use tonic::{Code, Status};

use super::{
    Api,
    status::status,
    streams::{Answers, until_closing},
};
use crate::terminals::log_files;

/// Largest piece of a log.
const PIECE: usize = 64 << 10;

/// The terminal's log from the oldest byte kept on, or what the guest's serial console said lately.
pub(super) async fn log(api: &Api, request: LogRequest) -> Result<Answers<LogResponse>, Status> {
    let directory = api.fleet.directory(&request.id)?;
    let answers = if !request.serial {
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

/// One file after the other; those that are not there are left out.
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

fn failed(path: &std::path::Path, error: &io::Error) -> Status {
    status(Code::Internal, "FILE", format!("{}: {error}", path.display()))
}
