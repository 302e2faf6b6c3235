//! What the agent shows first once it runs on, for a host that wants it ahead of HTTP/2.

use std::time::Duration;

use pilothouse_proto::{
    guest::v1::{FirstOutput, TerminalResponse},
    link::{FIRST_OUTPUT_MAX, FIRST_OUTPUT_WITHIN},
};
use tokio::time::timeout;

use super::guest::Guest;
use crate::agent::Output;

impl Guest {
    /// Returns the agent's output from the wanted offset on, as soon as there is any. The output is empty where there is none in
    /// time, or where the agent has ended.
    pub(crate) async fn first_output(&self, wanted: FirstOutput) -> TerminalResponse {
        let FirstOutput { offset, within_millis } = wanted;
        let within = Duration::from_millis(within_millis.into()).min(FIRST_OUTPUT_WITHIN);
        let (agent, mut news) = (&self.0.agent, self.0.agent.news());
        let shown = async {
            loop {
                news.borrow_and_update();
                match agent.output(offset, FIRST_OUTPUT_MAX) {
                    Output::Bytes(offset, output) => return TerminalResponse { offset, output, end: false },
                    Output::Pending if news.changed().await.is_ok() => {}
                    Output::Pending | Output::End(_) => return TerminalResponse::default(),
                }
            }
        };
        timeout(within, shown).await.unwrap_or_default()
    }
}
