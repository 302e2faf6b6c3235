//! `exec`: bytes, exit codes and signals pass as they are.

use std::process::Stdio;

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::Child,
    time::timeout,
};

use crate::{
    fake::{Fake, session},
    program::{DEADLINE, run, until},
    terminal::OnTerminal,
};

async fn fake() -> Fake {
    Fake::start(vec![session("alpha")]).await
}

fn signal(child: &Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(child.id().unwrap() as i32).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

async fn code(child: &mut Child) -> Option<i32> {
    timeout(DEADLINE, child.wait()).await.unwrap().unwrap().code()
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_and_exit_code_are_the_commands() {
    let fake = fake().await;
    let ran = fake.run(&["exec", "alpha", "--", "sh", "-c", "echo out; echo err >&2; exit 7"]).await;
    assert_eq!((ran.code, ran.text(), ran.stderr.as_str()), (7, "out\n", "err\n"));
    // Without --, with an option of the command's, with a variable.
    let ran = fake.run(&["exec", "-e", "A=b c", "alpha", "sh", "-c", "echo $A"]).await;
    assert_eq!((ran.code, ran.text()), (0, "b c\n"));
}

/// The loop's other lines are still there for it, and the command's own input is at its end.
#[tokio::test(flavor = "multi_thread")]
async fn without_stdin_a_loop_keeps_its_lines() {
    let fake = fake().await;
    let ran = run(fake.command(&["exec", "-n", "alpha", "--", "sh", "-c", "wc -c"]), b"more\n").await;
    assert_eq!((ran.code, ran.text().trim()), (0, "0"));
    let mut looping = fake.command(&[]);
    let script = "while read line; do \"$0\" exec -n alpha -- echo \"got $line\"; done";
    let (program, address) = (looping.as_std().get_program().to_owned(), fake.address());
    looping = tokio::process::Command::new("sh");
    looping.args(["-c", script]).arg(program).env("PILOTHOUSE_HOST", address);
    looping.stdout(Stdio::piped()).stderr(Stdio::piped());
    let ran = run(looping, b"one\ntwo\n").await;
    assert_eq!((ran.text(), ran.stderr.as_str()), ("got one\ngot two\n", ""));
}

/// Who reads a terminal from the background is stopped by it, and the command would be left alone.
#[tokio::test(flavor = "multi_thread")]
async fn in_the_background_it_runs_on() {
    let fake = fake().await;
    let mut shell = OnTerminal::shell(&fake, "$pilothouse exec alpha -- echo through & wait $!; echo code $?");
    shell.type_in(b"for the shell\n");
    shell.shows("through").await;
    shell.shows("code 0").await;
    assert_eq!(shell.ends().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_mebibytes_come_back_unchanged() {
    let fake = fake().await;
    // Not random, but every 8 bytes are different.
    let sent: Vec<u8> = (0..50_u64 << 17).flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).collect();
    let ran = run(fake.command(&["exec", "alpha", "--", "cat"]), &sent).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert!(ran.stdout == sent, "{} of {} bytes came back", ran.stdout.len(), sent.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_ends_the_command_quietly() {
    let fake = fake().await;
    let mut child = fake.command(&["exec", "alpha", "--", "yes"]).spawn().unwrap();
    let mut first = [0; 4];
    child.stdout.take().unwrap().read_exact(&mut first).await.unwrap();
    assert_eq!(code(&mut child).await, Some(141));
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "");
    until("it hung up", || fake.state.heard() == "[hung up]").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_slows_the_command() {
    let fake = fake().await;
    // What it has written when nobody reads is bounded by pipes and windows; then it is still there.
    let script = "i=0; while [ $i -lt 3000 ]; do printf %01024d 0; i=$((i+1)); done; echo done >&2";
    let mut child = fake.command(&["exec", "alpha", "--", "sh", "-c", script]).spawn().unwrap();
    let mut all = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut all).await.unwrap();
    assert_eq!((all.len(), code(&mut child).await), (3000 << 10, Some(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_reaches_the_command() {
    let fake = fake().await;
    let script = "trap 'exit 9' INT; echo ready; while :; do read x || exit 1; done";
    let mut child = fake.command(&["exec", "alpha", "--", "sh", "-c", script]).stdin(Stdio::piped()).spawn().unwrap();
    let stdin = child.stdin.take();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().unwrap(), "ready");
    signal(&child, rustix::process::Signal::INT);
    assert_eq!(code(&mut child).await, Some(9));
    drop(stdin);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_interrupt_hangs_up() {
    let fake = fake().await;
    let script = "trap 'echo again' INT; echo ready; while :; do sleep 0.01; done";
    let mut child = fake.command(&["exec", "alpha", "--", "sh", "-c", script]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().unwrap(), "ready");
    signal(&child, rustix::process::Signal::INT);
    assert_eq!(lines.next_line().await.unwrap().unwrap(), "again");
    signal(&child, rustix::process::Signal::INT);
    assert_eq!(code(&mut child).await, Some(130));
    until("it hung up", || fake.state.heard() == "[hung up]").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_dies_is_out_of_reach() {
    let mut fake = fake().await;
    let mut child =
        fake.command(&["exec", "alpha", "--", "sh", "-c", "echo ready; read x"]).stdin(Stdio::piped()).spawn().unwrap();
    let stdin = child.stdin.take();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().unwrap(), "ready");
    fake.kill().await;
    assert_eq!(code(&mut child).await, Some(5));
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).await.unwrap();
    assert!(said.starts_with("error: the connection to the host broke"), "{said}");
    drop(stdin);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_run_says_why() {
    let fake = fake().await;
    let ran = fake.run(&["exec", "nobody", "--", "true"]).await;
    assert_eq!((ran.code, ran.stderr.lines().next()), (3, Some("error: there is no such session")));
    let ran = fake.run(&["exec", "-t", "alpha", "--", "true"]).await;
    assert_eq!((ran.code, ran.stderr.lines().next()), (2, Some("error: -t needs a terminal on stdin and stdout")));
    assert_eq!(fake.run(&["exec", "alpha"]).await.code, 2);
}
