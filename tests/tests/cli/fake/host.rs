use pilothouse_proto::hostd::v1::{
    GetHostRequest, HostInfo, Snapshot, WatchRequest, WatchResponse, host_server::Host, watch_response::Change,
};
use tokio_stream::{Stream, StreamExt, wrappers::BroadcastStream};
use tonic::{Request, Response, Status};

use super::State;

type Changes = std::pin::Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Host for State {
    type WatchStream = Changes;

    async fn get(&self, _: Request<GetHostRequest>) -> Result<Response<HostInfo>, Status> {
        Ok(Response::new(info()))
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
