use pilothouse_proto::hostd::v1::{
    DrainRequest, DrainResponse, GetHostRequest, HostInfo, Snapshot, UndrainRequest, UndrainResponse, WatchRequest,
    WatchResponse, host_server::Host, watch_response::Change,
};
use tokio_stream::{Stream, StreamExt, wrappers::BroadcastStream};
use tonic::{Request, Response, Status};

use super::State;

type Changes = std::pin::Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Host for State {
    type WatchStream = Changes;

    async fn get(&self, _: Request<GetHostRequest>) -> Result<Response<HostInfo>, Status> {
        let drained_by = if *self.drained.lock().unwrap() { "sam" } else { "" };
        Ok(Response::new(HostInfo { drained_by: drained_by.into(), ..info() }))
    }

    async fn drain(&self, _: Request<DrainRequest>) -> Result<Response<DrainResponse>, Status> {
        *self.drained.lock().unwrap() = true;
        let left = self.sessions().into_iter().filter(|session| session.slug == "stuck").map(|session| session.slug);
        Ok(Response::new(DrainResponse { left: left.collect() }))
    }

    async fn undrain(&self, _: Request<UndrainRequest>) -> Result<Response<UndrainResponse>, Status> {
        *self.drained.lock().unwrap() = false;
        Ok(Response::new(UndrainResponse {}))
    }

    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Changes>, Status> {
        let later = BroadcastStream::new(self.changes.subscribe()).map(|change| Ok(change.unwrap()));
        let snapshot = Snapshot { host: Some(info()), sessions: self.sessions(), environments: vec![] };
        let first = WatchResponse { epoch: "1".into(), revision: 1, change: Some(Change::Snapshot(snapshot)) };
        Ok(Response::new(Box::pin(tokio_stream::once(Ok(first)).chain(later))))
    }
}

fn info() -> HostInfo {
    HostInfo { name: "madeup".into(), vmm: "simulated".into(), cpus: 2, ..Default::default() }
}
