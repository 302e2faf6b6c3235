//! Modules of guests' kernels: `http://pilothouse.internal/modules/RELEASE/NAME`, asked for by a guest's `modprobe`.

use std::{path::PathBuf, sync::Arc, time::Duration};

use bytes::{BufMut as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::{Response, StatusCode, body::Frame};
use tokio::{sync::Semaphore, time::timeout};

use super::response::{self, Body};
use crate::vm::modules::{self, NoModule};

/// Most answers that are made or read at a time, of all sessions together: each is in memory.
const AT_A_TIME: usize = 2;

/// Longest wait for one of these places; a guest waits 30 s for its answer.
const PERMIT_WAIT: Duration = Duration::from_secs(10);

/// Answers of all sessions.
#[derive(Debug)]
pub(super) struct Modules {
    /// The data folder's `kernel`; None: there are no kernels.
    kernels: Option<PathBuf>,
    permits: Arc<Semaphore>,
}

impl Modules {
    pub(super) fn of(kernels: Option<PathBuf>) -> Self {
        Self { kernels, permits: Arc::new(Semaphore::new(AT_A_TIME)) }
    }

    /// Answers with a module behind what it needs, each behind its length in four bytes, big-endian, and an empty one behind the last.
    /// `path` is the request's.
    pub(super) async fn answer(&self, path: &str) -> Response<Body> {
        let names = path.strip_prefix("/modules/").and_then(|rest| rest.split_once('/'));
        let (Some((release, name)), Some(kernels)) = (names, &self.kernels) else {
            return response::text(StatusCode::NOT_FOUND, "pilothouse: ask for /modules/RELEASE/NAME");
        };
        let Ok(Ok(permit)) = timeout(PERMIT_WAIT, self.permits.clone().acquire_owned()).await else {
            let why = "pilothouse: other sessions are given modules; try again";
            return response::text(StatusCode::SERVICE_UNAVAILABLE, why);
        };
        match modules::needed(kernels, release, name).await {
            Ok(needed) => {
                let mut response = Response::new(Full::new(framed(&needed)));
                *response.status_mut() = StatusCode::OK;
                response.map(|body| {
                    // In memory until it is read.
                    body.map_frame(move |frame: Frame<Bytes>| {
                        let _ = &permit;
                        frame
                    })
                    .map_err(|never| match never {})
                    .boxed_unsync()
                })
            }
            Err(error) => {
                let status = match error {
                    NoModule::Host(_) => StatusCode::INTERNAL_SERVER_ERROR,
                    NoModule::Name(_) => StatusCode::BAD_REQUEST,
                    NoModule::Kernel(_) | NoModule::None { .. } => StatusCode::NOT_FOUND,
                };
                response::text(status, &format!("pilothouse: {error}"))
            }
        }
    }
}

fn framed(modules: &[Vec<u8>]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(modules.iter().map(|module| module.len() + 4).sum::<usize>() + 4);
    for module in modules.iter().filter(|module| !module.is_empty()) {
        bytes.put_u32(u32::try_from(module.len()).unwrap_or(u32::MAX));
        bytes.extend_from_slice(module);
    }
    bytes.put_u32(0);
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_not_there_is_refused_with_a_reason() {
        let folder = tempfile::tempdir().unwrap();
        let modules = Modules::of(Some(folder.path().into()));
        for (path, status, says) in [
            ("/modules/6.1/veth", StatusCode::NOT_FOUND, "no more modules of kernel 6.1"),
            ("/modules/../veth", StatusCode::BAD_REQUEST, "names no module"),
            ("/modules/6.1/../x", StatusCode::BAD_REQUEST, "names no module"),
            ("/modules/6.1/-r", StatusCode::BAD_REQUEST, "names no module"),
            ("/modules/6.1", StatusCode::NOT_FOUND, "ask for /modules/RELEASE/NAME"),
        ] {
            let response = modules.answer(path).await;
            assert_eq!(response.status(), status, "{path}");
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert!(String::from_utf8_lossy(&body).contains(says), "{path}: {body:?}");
        }
        assert_eq!(Modules::of(None).answer("/modules/6.1/veth").await.status(), StatusCode::NOT_FOUND);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_finds_no_place_is_told_in_time() {
        let folder = tempfile::tempdir().unwrap();
        let modules = Modules::of(Some(folder.path().into()));
        let _held = modules.permits.clone().acquire_many_owned(2).await.unwrap();
        assert_eq!(modules.answer("/modules/6.1/veth").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    }

    #[test]
    fn a_module_stands_behind_its_length() {
        assert_eq!(&framed(&[b"a".to_vec(), vec![], b"bc".to_vec()])[..], b"\0\0\0\x01a\0\0\0\x02bc\0\0\0\0");
        assert_eq!(&framed(&[])[..], b"\0\0\0\0");
    }
}
