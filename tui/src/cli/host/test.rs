//! `host test`: whether hosts are reached, and how fast they answer.

use std::time::{Duration, Instant};

use futures::future::join_all;
use serde::Serialize;

use super::super::{
    failure::{Failure, Outcome, UNREACHABLE},
    fleet::{Fleet, Host},
    format::plain,
    output, waiting,
};
use crate::client::Hosts;

/// How often a host is asked once it is reached.
const ASKED: usize = 5;

/// What came of a host; milliseconds.
#[derive(Serialize)]
struct Tried<'a> {
    name: &'a str,
    address: String,
    /// Why it is not reached; null: it is.
    error: Option<String>,
    version: Option<String>,
    /// From nothing to its first answer.
    first_answer_ms: Option<f64>,
    /// From a question to its answer then, the median of some.
    answer_ms: Option<f64>,
}

/// Reaches for each of these hosts, or for all that commands ask.
pub(super) async fn run(fleet: &Fleet, named: &[String], json: bool) -> Outcome {
    let chosen = if named.is_empty() { None } else { Some(Fleet::new(Hosts::load()?.choose(named, None)?)) };
    let hosts = chosen.as_ref().unwrap_or(fleet).hosts();
    let trying = join_all(hosts.iter().map(reach));
    let tried = waiting::shown("waiting for the hosts", trying).await;
    let failed = tried.iter().any(Result::is_err);
    let tried: Vec<_> = hosts.iter().zip(tried).map(|(host, tried)| shape(host, tried)).collect();
    if json {
        output::print_json(&tried)?;
    } else {
        tried.iter().try_for_each(|tried| output::print(&line(tried)))?;
    }
    Ok(if failed { UNREACHABLE } else { 0 })
}

/// The host's version, the time to its first answer, and that between a question and an answer.
pub(super) async fn reach(host: &Host) -> Result<(String, Duration, Duration), Failure> {
    let began = Instant::now();
    let version = host.info().await?.version;
    let first = began.elapsed();
    let mut each = Vec::with_capacity(ASKED);
    for _ in 0..ASKED {
        let asked = Instant::now();
        host.info().await?;
        each.push(asked.elapsed());
    }
    each.sort_unstable();
    Ok((version, first, each.get(ASKED / 2).copied().unwrap_or_default()))
}

fn shape(host: &Host, tried: Result<(String, Duration, Duration), Failure>) -> Tried<'_> {
    let (name, address) = (host.address.name.as_str(), host.address.endpoint.to_string());
    let ms = |time: Duration| Some((time.as_secs_f64() * 10_000.0).round() / 10.0);
    match tried {
        Ok((version, first, each)) => Tried {
            name,
            address,
            error: None,
            version: Some(plain(&version)),
            first_answer_ms: ms(first),
            answer_ms: ms(each),
        },
        Err(failure) => {
            let error = [failure.message.trim_end()].into_iter().chain(failure.hints.iter().map(String::as_str));
            let error = Some(error.collect::<Vec<_>>().join("; "));
            Tried { name, address, error, version: None, first_answer_ms: None, answer_ms: None }
        }
    }
}

fn line(tried: &Tried<'_>) -> String {
    let name = plain(tried.name);
    match tried {
        Tried { error: Some(error), .. } => format!("{name}: {error}\n"),
        Tried { version, first_answer_ms: Some(first), answer_ms: Some(each), .. } => {
            let version = version.as_deref().unwrap_or_default();
            format!("{name}: hostd {version}, reached in {first} ms, answers in {each} ms\n")
        }
        Tried { .. } => format!("{name}: reached\n"),
    }
}
