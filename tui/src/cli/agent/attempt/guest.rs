//! What is asked by commands that run beside the agent, in its VM.

use std::time::Duration;

use futures::future::join_all;
use pilothouse_proto::hostd::v1::{ExecRequest, ExecStart, exec_request, exec_response};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;

use crate::cli::{failure::Failure, fleet::Host, format::plain, json::Reached};

/// Longest wait for a command.
const PATIENCE: Duration = Duration::from_secs(60);
/// Most that is read of a command's output, in bytes.
const OUTPUT_MAX: usize = 4096;
/// Asks the guest's proxy for a way to `$1`, and prints the first line of its answer and the body where it refuses.
const ASK: &str = r#"proxy=${https_proxy#http://}
exec 3<>"/dev/tcp/${proxy%:*}/${proxy##*:}" || exit 1
printf 'CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n' "$1" "$1" >&3
IFS= read -r -t 50 status <&3 || exit 1
printf '%s\n' "$status"
case $status in *' 200 '*) exit 0 ;; esac
timeout 5 cat <&3"#;

/// What the agent's program says of its version: the first line of what the profile's check prints. None: it says nothing.
pub(super) async fn version(host: &Host, id: &str, check: &[String]) -> Option<String> {
    if check.is_empty() {
        return None;
    }
    let said = timeout(PATIENCE, run(host, id, check.to_vec())).await.ok()?.ok()?;
    said.lines().map(|line| plain(line.trim())).find(|line| !line.is_empty())
}

/// Whether the guest gets a way to each of these destinations.
pub(super) async fn ways(host: &Host, id: &str, destinations: &[String]) -> Vec<Reached> {
    join_all(destinations.iter().map(|to| way(host, id, to))).await
}

async fn way(host: &Host, id: &str, to: &str) -> Reached {
    let command = ["bash", "-c", ASK, "bash", to].map(str::to_owned).to_vec();
    let answer = match timeout(PATIENCE, run(host, id, command)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(failure)) => failure.message,
        Err(_) => "no answer in time".into(),
    };
    let mut lines = answer.lines().map(str::trim).filter(|line| !line.is_empty());
    let status = lines.next().unwrap_or("no answer");
    let reached = status.contains(" 200 ");
    // The last line of the body is the gateway's own words.
    let why = (!reached).then(|| plain(lines.next_back().unwrap_or(status)));
    Reached { destination: to.to_owned(), reached, why }
}

/// The standard output of a command, as far as it is read.
async fn run(host: &Host, id: &str, command: Vec<String>) -> Result<String, Failure> {
    let start = ExecStart { id: id.to_owned(), command, ..Default::default() };
    let (requests, receiver) = mpsc::channel(2);
    for request in [exec_request::Request::Start(start), exec_request::Request::StdinEnd(true)] {
        // There is room for both.
        let _ = requests.try_send(ExecRequest { request: Some(request) });
    }
    let asked = host.sessions().exec(ReceiverStream::new(receiver)).await;
    let mut parts = asked.map_err(|status| host.failure(&status))?.into_inner();
    let mut said = Vec::new();
    while let Some(part) = parts.message().await.map_err(|status| host.failure(&status))? {
        match part.response {
            Some(exec_response::Response::Stdout(bytes)) if said.len() < OUTPUT_MAX => said.extend_from_slice(&bytes),
            Some(exec_response::Response::Exit(_)) => break,
            _ => {}
        }
    }
    Ok(String::from_utf8_lossy(&said).into_owned())
}
