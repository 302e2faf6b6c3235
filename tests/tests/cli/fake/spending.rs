use pilothouse_proto::hostd::v1::{Account, ModelUsage, UsageRequest, UsageResponse, spending_server::Spending};
use tonic::{Request, Response, Status};

use super::State;

#[tonic::async_trait]
impl Spending for State {
    async fn usage(&self, request: Request<UsageRequest>) -> Result<Response<UsageResponse>, Status> {
        let usage = ModelUsage {
            answers: 3,
            input_tokens: 12_000,
            cache_read_tokens: 9_000,
            cache_write_tokens: 340,
            output_tokens: 800,
            cost_micros: 4_200,
            unpriced_tokens: 0,
        };
        let key = match request.into_inner().by.as_str() {
            "session" => return Ok(Response::new(UsageResponse::default())),
            by => format!("some\u{1b}[2J {by}"),
        };
        let account = Account { key, slug: String::new(), usage: Some(usage) };
        Ok(Response::new(UsageResponse { accounts: vec![account], prices_date: "2026-08-21".into() }))
    }
}
