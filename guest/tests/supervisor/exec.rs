//! Exec: what a shell promises, over the link.

use std::{fs, path::Path, time::Duration};

use bytes::Bytes;
use pilothouse_proto::guest::v1::{
    ExecResponse, ExecStart, Exit, QuiesceRequest, Size,
    exec_request::Request::{Resize, Signal, Start, Stdin, StdinEnd},
    exec_response::Response,
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;

use crate::support::{Host, Ran, eventually, exec, request, start};

const STUBBORN_CHILD: &str = "(trap '' TERM; exec sleep 1000) & echo $! $$; wait";
const TERMINAL: Option<Size> = Some(Size { columns: 100, rows: 30 });

async fn sh(script: &str) -> (String, String, i32) {
    let mut client = Host::new().connect().await;
    exec(&mut client, vec![start(&["sh", "-c", script], None), request(StdinEnd(true))]).await.text()
}

fn is_alive(pid: &str) -> bool {
    // A zombie has ended.
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

#[tokio::test]
async fn passes_output_and_exit_code() {
    assert_eq!(sh("echo out; echo err >&2; exit 7").await, ("out\n".into(), "err\n".into(), 7));
    assert_eq!(sh("kill -9 $$").await, (String::new(), String::new(), 137));
    assert_eq!(sh("cat; echo $?").await.0, "0\n");
}

/// Whoever reads a copy of a suspended session runs there, and nobody else does.
#[tokio::test]
async fn runs_beside_what_is_frozen_where_asked_to() {
    let host = Host::new();
    let mut client = host.connect().await;
    let command = ["sh", "-c", "echo read; exit 3"].map(String::from).to_vec();
    let beside = ExecStart { command: command.clone(), beside_frozen: true, ..ExecStart::default() };
    for frozen in [false, true] {
        client.quiesce(QuiesceRequest { freeze: frozen, trim: false }).await.unwrap();
        let ran = exec(&mut client, vec![request(Start(beside.clone()))]).await.text();
        assert_eq!(ran, ("read\n".into(), String::new(), 3));
        assert_eq!(*host.machine.frozen.lock().unwrap(), frozen);
    }
    let other = ExecStart { command, ..ExecStart::default() };
    let error = client.exec(tokio_stream::iter(vec![request(Start(other))])).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::Unavailable, "{error}");
}

#[tokio::test]
async fn a_program_ignores_and_blocks_no_signal() {
    // Two of them belong to libc, which keeps them to itself and ignores them where it spawns.
    const LIBC: u64 = 0b11 << 31;
    let (stdout, _, _) = sh("grep -E '^Sig(Blk|Ign):' /proc/self/status").await;
    let sets: Vec<_> = stdout.lines().filter_map(|line| line.split_once(":\t")).collect();
    let sets = sets.into_iter().map(|(name, set)| (name, u64::from_str_radix(set, 16).unwrap() & !LIBC));
    assert_eq!(sets.collect::<Vec<_>>(), [("SigBlk", 0), ("SigIgn", 0)]);
}

/// As a shell starts what it does not wait for, and as others start what they think they guard.
#[test]
#[allow(unsafe_code)]
fn a_program_inherits_no_ignored_and_no_blocked_signal_of_ours() {
    let mut command = std::process::Command::new("sh");
    let ignoring = "trap '' HUP INT QUIT PIPE TERM USR1 WINCH; exec \"$@\"";
    command.args(["-c", ignoring, "sh"]).arg(std::env::current_exe().unwrap());
    command.args(["a_program_ignores_and_blocks_no_signal", "ctrl_c_reaches_a_program_that_reads_nothing"]);
    // SAFETY: the set is made before it is used; between fork and exec nothing but system calls is made.
    unsafe {
        std::os::unix::process::CommandExt::pre_exec(&mut command, || {
            let mut some = std::mem::zeroed();
            libc::sigemptyset(&raw mut some);
            for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGUSR2] {
                libc::sigaddset(&raw mut some, signal);
            }
            libc::sigprocmask(libc::SIG_BLOCK, &raw const some, std::ptr::null_mut());
            Ok(())
        });
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("2 passed"), "{said}");
}

#[tokio::test]
async fn tells_what_cannot_be_run() {
    let host = Host::new();
    let mut client = host.connect().await;
    for (command, code, line) in [
        ("no-such-program", 127, "no-such-program: not found\n"),
        ("/no/such", 127, "/no/such: not found\n"),
        ("/etc/passwd", 126, "/etc/passwd: permission denied\n"),
        ("/etc", 126, "/etc: permission denied\n"),
    ] {
        let ran = exec(&mut client, vec![start(&[command], None)]).await.text();
        assert_eq!(ran, (String::new(), line.into(), code));
    }
    let mut nowhere =
        ExecStart { command: vec!["true".into()], directory: "/no/folder".into(), ..ExecStart::default() };
    let ran = exec(&mut client, vec![request(Start(nowhere.clone()))]).await.text();
    assert_eq!(ran, (String::new(), "the folder /no/folder does not exist\n".into(), 126));
    let nobody = ExecStart { command: vec!["true".into()], user: "no-such-user".into(), ..ExecStart::default() };
    let ran = exec(&mut client, vec![request(Start(nobody))]).await.text();
    assert!(ran.2 == 126 && ran.1.starts_with("there is no user `no-such-user`"), "{ran:?}");
    nowhere.command.clear();
    let error = client.exec(tokio_stream::iter(vec![request(Start(nowhere))])).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn carries_fifty_mebibytes_both_ways_unchanged() {
    let host = Host::new();
    let mut client = host.connect().await;
    let mut data = vec![0; 50 << 20];
    let mut state = 1_u64;
    for word in data.chunks_exact_mut(8) {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        word.copy_from_slice(&(state ^ (state >> 29)).to_le_bytes());
    }
    let data = Bytes::from(data);
    let mut requests = vec![start(&["cat"], None)];
    requests.extend(
        (0..data.len()).step_by(64 << 10).map(|at| request(Stdin(data.slice(at..data.len().min(at + (64 << 10)))))),
    );
    let ran = exec(&mut client, requests).await;
    assert!(ran.stdout == data, "{} bytes came back, other ones", ran.stdout.len());
    assert_eq!(ran.exit, Some(Exit { code: 0, signal: 0 }));
}

#[tokio::test]
async fn pushes_back_when_the_caller_does_not_read() {
    let host = Host::new();
    let mut client = host.connect().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    // Ends with the pipe: this test's end stops everything at once, also what would have ended the command.
    let script =
        format!("i=0; while head -c 65536 /dev/zero; do i=$((i+1)); echo $i > {} || exit; done", file.path().display());
    let mut answers =
        client.exec(tokio_stream::iter(vec![start(&["sh", "-c", &script], None)])).await.unwrap().into_inner();
    let written = || fs::read_to_string(file.path()).unwrap_or_default().trim().parse::<u64>().unwrap_or(0);
    // It stands still: the same count for a while.
    let (mut last, mut same) = (0, 0);
    eventually("the writer is stopped", || {
        same = if written() == last && last > 0 { same + 1 } else { 0 };
        last = written();
        same > 50
    })
    .await;
    assert!(last < 64, "{last} pieces of 64 KiB were taken from a program that nobody listens to");
    answers.message().await.unwrap().unwrap();
}

#[tokio::test]
async fn ends_the_process_group_of_a_dropped_stream() {
    for script in [
        "sleep 1000 & echo $! $$; wait",
        "trap '' TERM; sleep 1000 & echo $! $$; while :; do wait; done",
        STUBBORN_CHILD,
    ] {
        let host = Host::new();
        let mut client = host.connect().await;
        let answers = client.exec(tokio_stream::iter(vec![start(&["sh", "-c", script], None)])).await;
        let mut answers = answers.unwrap().into_inner();
        let Some(Response::Stdout(line)) = answers.message().await.unwrap().unwrap().response else {
            panic!("no pids")
        };
        let pids: Vec<String> = String::from_utf8(line.into()).unwrap().split_whitespace().map(Into::into).collect();
        assert!(pids.iter().all(|pid| is_alive(pid)));
        drop((answers, client));
        eventually("all are gone", || !pids.iter().any(|pid| is_alive(pid))).await;
    }
}

/// A process that a test leaves behind, by its id.
struct Left(String);

impl Drop for Left {
    fn drop(&mut self) {
        let _ = std::process::Command::new("kill").arg(self.0.trim()).status();
    }
}

#[tokio::test]
async fn does_not_wait_for_what_a_command_leaves_behind() {
    let begun = std::time::Instant::now();
    let (pid, _, code) = sh("sleep 1000 & echo $!; exit 3").await;
    let left = Left(pid);
    assert_eq!(code, 3);
    // It lives on, as it does after a shell's exit, and it may even be noisy.
    assert!(is_alive(&left.0));
    let (noisy, _, _) = sh("yes & until grep -q '^wchar: [1-9]' /proc/$!/io 2>/dev/null; do :; done; exit 0").await;
    assert!(noisy.len() > 1);
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn keeps_the_tail_of_a_slow_pipe() {
    // What tee prints comes after the shell's exit.
    let (out, _, _) = sh("(sleep 0.05; echo late) & echo early").await;
    assert_eq!(out, "early\nlate\n");
}

#[tokio::test]
async fn gives_a_terminal() {
    let host = Host::new();
    let mut client = host.connect().await;
    let ran = exec(&mut client, vec![start(&["sh", "-c", "tty; stty size; echo err >&2; exit 4"], TERMINAL)]).await;
    let (out, err, code) = ran.text();
    assert!(out.starts_with("/dev/pts/") && out.ends_with("\r\n30 100\r\nerr\r\n"), "{out:?}");
    assert_eq!((err.as_str(), code), ("", 4));
    // The end of stdin is Ctrl-D.
    let ran =
        exec(&mut client, vec![start(&["cat"], TERMINAL), request(Stdin("ab\n".into())), request(StdinEnd(true))])
            .await;
    assert_eq!(ran.text().0, "ab\r\nab\r\n");
}

#[tokio::test]
async fn resizes_and_signals() {
    let host = Host::new();
    let mut client = host.connect().await;
    let script = "trap 'stty size' WINCH; trap 'echo usr1; exit 5' USR1; echo ready; while :; do sleep 0.02; done";
    let (send, receiver) = mpsc::channel(4);
    send.send(start(&["sh", "-c", script], TERMINAL)).await.unwrap();
    let mut answers = client.exec(ReceiverStream::new(receiver)).await.unwrap().into_inner();
    let mut ran = Ran::default();
    let mut sent = 0;
    while let Some(answer) = timeout(Duration::from_secs(20), answers.message()).await.unwrap().unwrap() {
        let answer: ExecResponse = answer;
        ran.add(answer);
        let text = String::from_utf8_lossy(&ran.stdout).into_owned();
        if sent == 0 && text.contains("ready") {
            send.send(request(Resize(Size { columns: 77, rows: 22 }))).await.unwrap();
            sent = 1;
        } else if sent == 1 && text.contains("22 77") {
            send.send(request(Signal(10))).await.unwrap();
            sent = 2;
        }
    }
    assert!(String::from_utf8_lossy(&ran.stdout).ends_with("usr1\r\n"));
    assert_eq!(ran.exit, Some(Exit { code: 5, signal: 0 }));
}

#[tokio::test]
async fn a_command_that_does_not_read_ends_all_the_same() {
    let host = Host::new();
    let mut client = host.connect().await;
    let mut requests = vec![start(&["sh", "-c", "exec <&-; sleep 0.1; echo done"], None)];
    requests.extend((0..200).map(|_| request(Stdin(vec![0; 64 << 10].into()))));
    assert_eq!(exec(&mut client, requests).await.text(), ("done\n".into(), String::new(), 0));
    assert!(Path::new("/proc/self").exists());
}

#[tokio::test]
async fn bounds_how_many_run() {
    let host = Host::new();
    let mut client = host.connect().await;
    let mut running = Vec::new();
    for _ in 0..64 {
        running.push(client.exec(tokio_stream::iter(vec![start(&["sleep", "1000"], None)])).await.unwrap());
    }
    let error = client.exec(tokio_stream::iter(vec![start(&["true"], None)])).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::ResourceExhausted);
    running.clear();
    let mut free = false;
    for _ in 0..500 {
        free = free || client.exec(tokio_stream::iter(vec![start(&["true"], None)])).await.is_ok();
        tokio::time::sleep(Duration::from_millis(10)).await;
        if free {
            break;
        }
    }
    assert!(free, "ended commands make room");
}
