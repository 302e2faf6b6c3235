//! From the result of a check, reported over hostd's API, to the next byte that the agent shows, where its session waits for
//! it on disk; beside the bare resume of the same session in the same run: `cargo bench -p tests --bench wakes`.
//!
//! The way is: result in the store, hint, the forge read again, snapshot resumed, answer with the handshake, `session wait`
//! ends, the agent's shell goes on, its terminal, ahead of HTTP/2, the observer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use pilothouse_proto::hostd::v1::{
    ReportCheckRequest, ResumeRequest, checks_client::ChecksClient, sessions_client::SessionsClient,
};
use tests::{
    Host,
    api::{self, Attached},
    until,
    wait::BOOT,
};
use tokio::runtime::Runtime;
use tonic::transport::Channel;

/// How often each is measured.
const ROUNDS: u32 = 9;
/// Pushes, waits for the checks of that, says so, and begins again.
const AGENT: &str = r#"cd /work/widgets
n=0
while :; do
    n=$((n + 1))
    echo $n >FIX
    git add FIX
    git commit -qm "Fix $n"
    git push -q origin HEAD:refs/heads/$PILOTHOUSE_BRANCH
    [ $n != 1 ] || session pr open --title Fix
    session wait checks >/dev/null
    echo "told of $n."
done"#;

fn main() {
    let host = Host::start();
    let machine = host.cli(["host", "show", "--json"]).json();
    println!(
        "QEMU {}, accelerator {}\n",
        machine["qemu_version"].as_str().unwrap_or("?"),
        machine["accelerator"].as_str().unwrap_or("?").to_uppercase()
    );
    let _ = host.cli(["repo", "set", "widgets", "--require", "unit"]).text();
    let id = host.session("waiter", &["sh", "-ec", AGENT]);
    let runtime = Runtime::new().unwrap();
    let channel = runtime.block_on(api::connect(&host));
    let (mut bare, mut told) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let head = pushed(&host, &id, round);
        suspend(&host, &id);
        bare.push(runtime.block_on(resume(channel.clone(), &id)));
        suspend(&host, &id);
        told.push(runtime.block_on(report(&host, channel.clone(), &id, head, round)));
    }
    let (bare, told) = (median(bare), median(told));
    println!("bare resume, from the call to the shaken hand          {bare:>9.1?}");
    let ratio = told.as_secs_f64() / bare.as_secs_f64();
    println!("result of a check to the agent's next byte             {told:>9.1?}   {ratio:5.2} x  the bare resume");
}

/// The head commit, once this many revisions were pushed and the session waits for their checks.
fn pushed(host: &Host, id: &str, revisions: u32) -> String {
    until("the session to wait for the next checks", BOOT, || {
        let pull = host.cli(["review", "show", "1", "--json"]);
        let pull = (pull.code == 0).then(|| pull.json())?;
        let is_newest = pull["revisions"].as_array()?.len() == revisions as usize;
        let waits = host.show(id)["activity"] == "waiting-checks";
        (is_newest && waits).then(|| pull["head"].as_str().unwrap().to_owned())
    })
}

fn suspend(host: &Host, id: &str) {
    let _ = host.cli(["suspend", id]).text();
    host.wait_for_no_vm();
}

async fn resume(channel: Channel, id: &str) -> Duration {
    let began = Instant::now();
    SessionsClient::new(channel).resume(ResumeRequest { id: id.into() }).await.unwrap();
    began.elapsed()
}

async fn report(host: &Host, channel: Channel, id: &str, commit: String, round: u32) -> Duration {
    // To look wakes nobody.
    let mut terminal = Attached::open(host, id, true).await;
    let report = ReportCheckRequest {
        repository: "widgets".into(),
        commit,
        name: "unit".into(),
        state: "passed".into(),
        ..ReportCheckRequest::default()
    };
    let began = Instant::now();
    ChecksClient::new(channel).report_check(report).await.unwrap();
    terminal.read_until(&format!("told of {round}.")).await;
    began.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
