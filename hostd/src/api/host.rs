use futures::stream;
use pilothouse_proto::hostd::v1::{GetHostRequest, HostInfo, WatchRequest, WatchResponse, host_server::Host};
use tonic::{Request, Response, Status, async_trait};

use super::{
    Api, convert,
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
