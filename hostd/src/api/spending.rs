use pilothouse_proto::hostd::v1::{self as wire, UsageRequest, UsageResponse, spending_server::Spending};
use tonic::{Code, Request, Response, Status, async_trait};

use super::{
    Api, convert,
    status::{invalid, status},
};
use crate::store::{Account, By};

#[async_trait]
impl Spending for Api {
    async fn usage(&self, request: Request<UsageRequest>) -> Result<Response<UsageResponse>, Status> {
        let by = match request.into_inner().by.as_str() {
            "session" => By::Session,
            "environment" => By::Environment,
            "person" => By::Person,
            "day" => By::Day,
            "model" => By::Model,
            _ => return Err(invalid("usage is by session, environment, person, day or model")),
        };
        let accounts =
            self.store.usage(by).await.map_err(|error| status(Code::Internal, "STORE", error.to_string()))?;
        let sessions = if by == By::Session { self.fleet.list() } else { vec![] };
        let slug = |id: &str| sessions.iter().find(|view| view.session.id == id).map(|view| view.session.slug.clone());
        let accounts = accounts.into_iter().map(|Account { key, spending }| wire::Account {
            slug: slug(&key).unwrap_or_default(),
            key,
            usage: Some(convert::usage(&spending)),
        });
        let accounts = accounts.collect();
        let prices_date = self.prices.current().await.date.clone();
        Ok(Response::new(UsageResponse { accounts, prices_date }))
    }
}
