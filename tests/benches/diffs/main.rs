//! Differences, from the call over hostd's API to their first list, first hunk and end, beside `git diff` to a pipe on the same
//! repository in the same run; and what hostd holds at most meanwhile: `cargo bench -p tests --bench diffs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod repositories;

use std::{
    fs,
    io::Read as _,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use pilothouse_proto::hostd::v1::{
    DiffRequest, DiffRevisions, diff_request::Of, diff_response::Response, diffs_client::DiffsClient,
};
use tests::{Host, api};
use tokio::runtime::Runtime;
use tonic::transport::Channel;

use repositories::Make;

/// How often each is measured.
const ROUNDS: usize = 7;

fn main() {
    let host = Host::empty(&[]);
    let runtime = Runtime::new().unwrap();
    let channel = runtime.block_on(api::connect(&host));
    let cases: [(&str, Make); 3] = [
        ("20,000 files, a line of ten changed in each", repositories::many_files),
        ("one file of 50 MiB, a line of a thousand changed", repositories::large_file_in_places),
        ("one file of 50 MiB, every line changed", repositories::large_file_everywhere),
    ];
    for (number, (what, make)) in cases.into_iter().enumerate() {
        let name = format!("bench{number}");
        repositories::import(&host, &name, make);
        println!("{what}");
        let (mut ours, mut theirs) = (Times::default(), Times::default());
        // The first rounds warm both ends' caches.
        for round in 0..=ROUNDS {
            let (of_ours, of_theirs) = (runtime.block_on(ask(channel.clone(), &name)), git_diff(&host, &name));
            if round > 0 {
                ours.add(of_ours);
                theirs.add(of_theirs);
            }
        }
        let (list, first, end) = ours.medians();
        let (_, git_first, git_end) = theirs.medians();
        println!("  whole list of files         {list:>9.1?}");
        let ratio = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64();
        println!(
            "  first hunk                  {first:>9.1?}   {:5.2} x  `git diff`, {git_first:.1?}",
            ratio(first, git_first)
        );
        println!(
            "  end                         {end:>9.1?}   {:5.2} x  `git diff`, {git_end:.1?}",
            ratio(end, git_end)
        );
        println!("  hostd holds at most         {:>6} MiB", peak(&host) >> 10);
    }
}

/// To the list, to the first hunk, and to the end.
type Round = [Duration; 3];

#[derive(Default)]
struct Times([Vec<Duration>; 3]);

impl Times {
    fn add(&mut self, round: Round) {
        self.0.iter_mut().zip(round).for_each(|(times, time)| times.push(time));
    }

    fn medians(mut self) -> (Duration, Duration, Duration) {
        let [list, first, end] = self.0.each_mut().map(|times| {
            times.sort();
            times[times.len() / 2]
        });
        (list, first, end)
    }
}

async fn ask(channel: Channel, repository: &str) -> Round {
    let of = DiffRevisions {
        repository: repository.into(),
        old: "main".into(),
        new: "topic".into(),
        since_merge_base: false,
    };
    let mut client = DiffsClient::new(channel);
    let began = Instant::now();
    let request = DiffRequest { of: Some(Of::Revisions(of)), ..DiffRequest::default() };
    let mut answers = client.get(request).await.unwrap().into_inner();
    let (mut list, mut first) = (None, None);
    loop {
        match answers.message().await.unwrap().and_then(|answer| answer.response).expect("it ended early") {
            Response::Listed(_) => list = Some(began.elapsed()),
            Response::Piece(piece) if !piece.hunks.is_empty() => drop(first.get_or_insert_with(|| began.elapsed())),
            Response::End(_) => return [list.unwrap(), first.unwrap(), began.elapsed()],
            _ => {}
        }
    }
}

fn git_diff(host: &Host, repository: &str) -> Round {
    let began = Instant::now();
    let mut git = Command::new("git");
    git.args(["-C"]).arg(host.data().join("git").join(format!("{repository}.git")));
    let mut git = git.args(["diff", "main", "topic"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = git.stdout.take().unwrap();
    let mut buffer = vec![0; 64 << 10];
    assert!(out.read(&mut buffer).unwrap() > 0);
    let first = began.elapsed();
    while out.read(&mut buffer).unwrap() > 0 {}
    let round = [first, first, began.elapsed()];
    assert!(git.wait().unwrap().success());
    round
}

/// KiB that hostd held at most since the last look.
fn peak(host: &Host) -> u64 {
    let pid = fs::read_to_string(host.data().join("hostd.lock")).unwrap();
    let process = std::path::Path::new("/proc").join(pid.trim());
    let status = fs::read_to_string(process.join("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    // Begins to count anew: proc(5), clear_refs.
    fs::write(process.join("clear_refs"), "5").unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
