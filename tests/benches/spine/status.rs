//! From a report of an agent's program, written to its terminal in the guest, to the change that a console is told.

use std::time::{Duration, Instant};

use pilothouse_proto::hostd::v1::{WatchRequest, WatchResponse, host_client::HostClient, watch_response::Change};
use tests::{
    Host,
    api::{self, Attached},
    wait::SOON,
};
use tokio::{runtime::Runtime, time::timeout};
use tonic::{Streaming, transport::Channel};

use crate::table::{Samples, round_trip};

/// How often a change is measured.
const ROUNDS: usize = 60;
/// Reports by OSC 7501 with each key that it works, or that its turn is over.
const AGENT: &str = r"stty raw -echo; echo ready
while :; do
    for state in working idle; do
        head -c 1 >/dev/null
        printf '\033]7501;state=%s\007' $state
    done
done";

/// Prints what it takes from a key to the report that the agent's program makes of it, as a console is told of both: of the report's bytes,
/// and of the session that stands otherwise. hostd looks at reports five times a second at most, and each change follows the one before
/// at once here, so that pause is part of it.
pub(crate) fn measure(runtime: &Runtime, host: &Host) {
    let id = host.session("reports", &["sh", "-c", AGENT]);
    let (seen, written) = runtime.block_on(rounds(host, &id));
    round_trip("status seen, OSC 7501 to Watch", &seen, "its bytes at an attached terminal", &written);
}

async fn rounds(host: &Host, id: &str) -> (Samples, Samples) {
    let mut terminal = Attached::open(host, id, false).await;
    terminal.read_role(|role| role.writer).await;
    let mut client = HostClient::<Channel>::new(api::connect(host).await);
    let mut watch = client.watch(WatchRequest::default()).await.unwrap().into_inner();
    let (mut seen, mut written) = (vec![], vec![]);
    for round in 0..ROUNDS {
        let (state, activity) = if round % 2 == 0 { ("working", "working") } else { ("idle", "idle") };
        terminal.output.clear();
        let began = Instant::now();
        terminal.send(*b"x").await;
        let bytes = async {
            terminal.read_until(&format!("7501;state={state}")).await;
            began.elapsed()
        };
        let change = async {
            told(&mut watch, id, activity).await;
            began.elapsed()
        };
        let (bytes, change): (Duration, Duration) = tokio::join!(bytes, change);
        written.push(bytes);
        seen.push(change);
    }
    (Samples::new(seen), Samples::new(written))
}

/// Waits until a console is told that the session's agent does this, as its program says.
async fn told(watch: &mut Streaming<WatchResponse>, id: &str, activity: &str) {
    let wait = async {
        loop {
            let change = watch.message().await.unwrap().expect("the host goes on").change;
            if let Some(Change::Session(session)) = change
                && session.id == id
                && session.activity == activity
                && session.report.is_some_and(|report| report.source == "osc-7501")
            {
                return;
            }
        }
    };
    timeout(SOON, wait).await.expect("the change is told");
}
