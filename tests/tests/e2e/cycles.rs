//! Twenty times to disk and back: whatever a guest was doing goes on, as if nothing had been.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::Stdio,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tests::{Host, api::Attached, until, wait::SOON};

const CYCLES: u64 = 20;
const MINUTE: Duration = Duration::from_secs(60);
/// What a guest's clock may be off right after a resume, in milliseconds.
const CLOCK: i128 = 50;

/// A secret in memory alone, ticks into a file that stays open, two ends of a TCP connection that agree on every line, a
/// sleep, files on disk and in memory, and an editor on the terminal.
const BUSY: &str = r#"
    mkdir -p /mnt/ram; mount -t tmpfs ram /mnt/ram
    head -c 4M /dev/urandom >/mnt/ram/file; head -c 4M /dev/urandom >/root/file
    ticker() {
        secret=$(head -c 16 /dev/urandom | md5sum); exec 3>>/root/ticks; i=0
        while :; do i=$((i+1)); echo $i >&3; echo "$secret" >>/run/secret; sleep 0.1; done
    }
    ticker &
    perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(LocalAddr => "127.0.0.1:7000", Listen => 1) or die;
        open F, ">/run/listens"; close F; $c = $s->accept; $c->autoflush; print $c $_ while <$c>' &
    while [ ! -e /run/listens ]; do sleep 0.1; done
    perl -MIO::Socket::INET -e '$c = IO::Socket::INET->new("127.0.0.1:7000") or die; $c->autoflush;
        while (1) { $i++; print $c "$i\n"; $got = <$c>; open F, ">/run/tcp.new";
            print F $got eq "$i\n" ? $i : "broken at $i"; close F; rename "/run/tcp.new", "/run/tcp";
            exit if $got ne "$i\n"; select undef, undef, undef, 0.1 }' &
    (sleep 15; echo woke >/run/woke) &
    TERM=xterm exec vim.tiny -u NONE
"#;

#[tokio::test]
async fn a_busy_guest_does_not_notice_twenty_cycles() {
    let host = tokio::task::spawn_blocking(Host::start).await.unwrap();
    let id = host.session("busy", &["sh", "-c", BUSY]);
    let read = |script: &str| host.exec(&id, &["sh", "-c", script]).text();
    read("until [ -s /run/secret ] && [ -s /run/tcp ]; do sleep 0.1; done");
    let mut editor = Attached::open(&host, &id, false).await;
    editor.read_role(|role| role.writer).await;
    // A blank, taken back.
    type_into_vim(&mut editor, "iwritten before", " \x08", "before").await;
    drop(editor);
    let lasting = "sort -u /run/secret; cat /proc/sys/kernel/random/boot_id; md5sum /root/file /mnt/ram/file";
    let before = read(lasting);
    for cycle in 1..=CYCLES {
        let _ = host.cli(["suspend", &id]).text();
        assert!(host.vms().is_empty());
        let resumed = host.cli(["resume", "--json", &id]).json();
        assert_eq!(resumed["generation"], cycle + 1, "{resumed}");
    }
    read("echo 3 >/proc/sys/vm/drop_caches");
    assert_eq!(read(lasting), before);
    for file in ["/root/ticks", "/run/tcp"] {
        let last = read(&format!("tail -n 1 {file}"));
        until("it to go on", SOON, || (read(&format!("tail -n 1 {file}")) != last).then_some(()));
    }
    assert_eq!(read("awk '$1 != NR { print \"at\", NR, $1; exit }' /root/ticks"), "", "a tick was lost or doubled");
    let lines: u64 = read("cat /run/tcp").parse().expect("the connection broke");
    assert!(lines > CYCLES);
    until("the sleep to end", SOON, || (read("cat /run/woke || true") == "woke").then_some(()));
    let mut editor = Attached::open(&host, &id, false).await;
    editor.read_role(|role| role.writer).await;
    type_into_vim(&mut editor, " and after\x1b:w /root/saved\r", "\x1b", "25 bytes written").await;
    drop(editor);
    assert_eq!(read("cat /root/saved"), "written before and after");
    tokio::task::spawn_blocking(move || drop(host)).await.unwrap();
}

/// Vim takes keys now and then, and looks at them only when the next one comes: 5 times of 810 that a script in a loaded guest
/// started it and typed, with nothing between the two but a terminal. So `more` follows, which changes nothing.
async fn type_into_vim(editor: &mut Attached, keys: &str, more: &str, shown: &str) {
    editor.send(keys).await;
    if !editor.shows(shown, Duration::from_secs(20)).await {
        println!("vim waits for one more key");
        editor.send(more).await;
        editor.read_until(shown).await;
    }
}

/// Asked over and over through one connection, which the shell answers by itself; the quickest answer bounds the clock
/// best, however long it took.
#[test]
fn a_guests_clock_is_right_after_a_minute_on_disk() {
    let host = Host::start();
    let id = host.session("late", &["sleep", "1000000"]);
    let _ = host.cli(["suspend", &id]).text();
    let began = Instant::now();
    until("a minute to pass", MINUTE * 2, || (began.elapsed() >= MINUTE).then_some(()));
    let mut command = host.pilothouse();
    command.args(["exec", &id, "--", "bash", "-c", "while read -r _; do echo $EPOCHREALTIME; done"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut asks, mut answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    let samples = (0..20).map(|_| {
        let before = now();
        asks.write_all(b"\n").unwrap();
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        let after = now();
        // Seconds with six decimals.
        let guest: i128 = line.trim().replace('.', "").parse().unwrap();
        (after - before, guest / 1000 - before, guest / 1000 - after)
    });
    let (round_trip, since_asked, since_answered) = samples.min().unwrap();
    println!("asked and answered in {round_trip} ms; the guest's clock is {since_answered} to {since_asked} ms ahead");
    assert!(since_asked >= -CLOCK, "the guest's clock is late by {} ms", -since_asked);
    assert!(since_answered <= CLOCK, "the guest's clock is early by {since_answered} ms");
    drop(asks);
    assert!(child.wait().unwrap().success());
}

/// Unix milliseconds.
fn now() -> i128 {
    i128::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}
