use futures::stream;
use pilothouse_proto::hostd::v1::{
    DrainRequest, DrainResponse, GetHostRequest, HostInfo, UndrainRequest, UndrainResponse, WatchRequest,
    WatchResponse, host_server::Host,
};
use tonic::{Request, Response, Status, async_trait};

use super::{
    Api, convert,
    principal::actor,
    streams::{Answers, until_closing},
};

#[async_trait]
impl Host for Api {
    type WatchStream = Answers<WatchResponse>;

    async fn get(&self, _: Request<GetHostRequest>) -> Result<Response<HostInfo>, Status> {
        self.fleet.look().await;
        let accounts = Some(convert::accounts(&self.fleet.accounts().await?));
        Ok(Response::new(HostInfo { accounts, ..convert::host(&self.fleet.feed().snapshot().host) }))
    }

    async fn drain(&self, request: Request<DrainRequest>) -> Result<Response<DrainResponse>, Status> {
        let left = self.fleet.drain(&actor(&request)).await?;
        Ok(Response::new(DrainResponse { left }))
    }

    async fn undrain(&self, request: Request<UndrainRequest>) -> Result<Response<UndrainResponse>, Status> {
        self.fleet.undrain(&actor(&request)).await?;
        Ok(Response::new(UndrainResponse {}))
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let WatchRequest { epoch, revision } = request.into_inner();
        self.fleet.look().await;
        let feed = self.fleet.feed().clone();
        let reader = feed.read(&epoch, revision);
        let news = stream::unfold((feed, reader), |(feed, mut reader)| async move {
            let (revision, news) = reader.next().await;
            Some((Ok(convert::news(feed.epoch(), revision, &news)), (feed, reader)))
        });
        Ok(Response::new(until_closing(news, &self.closing)))
    }
}
