//! Attached terminals: the same for everybody, written by one, drawn at once.

use std::process::Command;

use tests::{
    Console, Host,
    api::Attached,
    console::keys,
    wait::{BOOT, SOON},
};

/// Two see the same bytes; an observer cannot write; the pen can be taken.
#[tokio::test]
async fn all_see_the_same_and_one_writes() {
    let host = tokio::task::spawn_blocking(Host::start).await.unwrap();
    let agent = "stty -echo; echo ready; while read -r line; do echo \"got $line\"; done";
    let id = host.session("echo", &["sh", "-c", agent]);
    tests::until("the agent to be ready", SOON, || host.cli(["log", &id]).text().contains("ready").then_some(()));
    let mut writer = Attached::open(&host, &id, false).await;
    writer.read_role(|role| role.writer).await;
    let mut observer = Attached::open(&host, &id, true).await;
    observer.read_role(|role| !role.writer).await;
    assert!(String::from_utf8_lossy(&observer.screen.contents).contains("ready"));

    observer.send("evil\r").await;
    writer.send("good\r").await;
    for terminal in [&mut writer, &mut observer] {
        terminal.read_until("got good\r\n").await;
        assert!(!String::from_utf8_lossy(&terminal.output).contains("evil"));
    }
    assert_eq!(writer.output, observer.output);

    let mut second = Attached::open(&host, &id, false).await;
    second.read_role(|role| !role.writer).await;
    second.send("no\r").await;
    second.take().await;
    second.read_role(|role| role.writer).await;
    writer.read_role(|role| !role.writer).await;
    second.send("mine\r").await;
    observer.read_until("got mine\r\n").await;
    assert!(!String::from_utf8_lossy(&observer.output).contains("got no"));
    tokio::task::spawn_blocking(move || drop(host)).await.unwrap();
}

/// Asks ten things of its terminal, waits for each answer, and tells what came where it is another.
const ASKS: &str = r#"
    system "stty raw -echo min 0 time 100";
    open my $told, ">", "/run/half" or die;
    sub ask {
        my ($name, $query, $wanted) = @_;
        my $answer = "";
        syswrite STDOUT, $query;
        while ($answer !~ /^$wanted$/s and sysread STDIN, my $bytes, 4096) { $answer .= $bytes }
        syswrite $told, ($answer =~ /^$wanted$/s ? "$name\n" : "$name: NOT $answer\n");
    }
    ask "status", "\e[5n", qr/\e\[0n/;
    ask "cursor", "\e[6n", qr/\e\[1;1R/;
    ask "attributes", "\e[c", qr/\e\[\?[\d;]+c/;
    ask "more attributes", "\e[>c", qr/\e\[>[\d;]+c/;
    ask "version", "\e[>q", qr/\eP>\|pilothouse.*\e\\/;
    ask "keyboard", "\e[?u", qr/\e\[\?0u/;
    ask "mode", "\e[?2026\$p", qr/\e\[\?2026;2\$y/;
    ask "foreground", "\e]10;?\e\\", qr/\e\]10;rgb:[0-9a-f\/]+\e\\/;
    ask "background", "\e]11;?\e\\", qr/\e\]11;rgb:[0-9a-f\/]+\e\\/;
    ask "size", "\e[18t", qr/\e\[8;\d+;\d+t/;
    rename "/run/half", "/run/told";
    sleep 1000000;
"#;

/// Many programs ask their terminal before they begin, and wait for it.
#[test]
fn a_programs_queries_are_answered_with_nobody_attached() {
    let host = Host::start();
    let id = host.session("asks", &["perl", "-e", ASKS]);
    let told = tests::until("what it was told", BOOT, || {
        let told = host.exec(&id, &["sh", "-c", "cat /run/told 2>/dev/null; true"]).text();
        (!told.is_empty()).then_some(told)
    });
    let all = "status\ncursor\nattributes\nmore attributes\nversion\nkeyboard\nmode\nforeground\nbackground\nsize";
    assert_eq!(told, all);
}

/// vim and htop through `pilothouse attach`: there right after attach, and filling the window after a resize.
#[test]
fn full_screen_programs_are_drawn() {
    let host = Host::start();
    let id = host.session("editor", &["sh", "-c", "TERM=xterm-256color vim.tiny -u NONE README.md; exec htop"]);
    tests::until("vim to start", SOON, || host.cli(["log", &id]).text().contains("widgets").then_some(()));

    let mut first = Console::start(&attach(&host, &id, &[]), 80, 24);
    first.wait_for("A catalogue of widgets", SOON);
    first.wait_until("vim's last line at the bottom", SOON, |screen| row(screen, 23).contains("README.md"));
    first.resize(100, 40);
    first.wait_until("vim on 40 rows", SOON, |screen| {
        row(screen, 37).starts_with('~') && !row(screen, 22).contains("README.md")
    });

    // Another window sees it as it stands, without a key.
    let second = Console::start(&attach(&host, &id, &["--observe"]), 100, 40);
    second.wait_for("A catalogue of widgets", SOON);

    // Not by keys, which vim now and then lets lie until the next one.
    let _ = host.exec(&id, &["sh", "-c", "kill $(pidof vim.tiny)"]).text();
    for terminal in [&first, &second] {
        terminal.wait_for("F10", BOOT);
        terminal.wait_for("Mem[", SOON);
    }
    first.resize(80, 24);
    first.wait_until("htop's keys on row 24", BOOT, |screen| {
        row(screen, 23).contains("F10") || row(screen, 23).contains("F9")
    });

    first.send(keys::PREFIX);
    first.send("d");
    assert_eq!(first.wait_for_end(SOON), 0);
    assert!(!first.alternate(), "the terminal was not given back");
    let third = Console::start(&attach(&host, &id, &[]), 80, 24);
    third.wait_for("F10", SOON);
}

fn attach(host: &Host, id: &str, options: &[&str]) -> Command {
    let mut command = host.pilothouse();
    command.args(["attach", id]).args(options);
    command
}

fn row(screen: &vt100::Screen, number: u16) -> String {
    screen.rows(0, screen.size().1.get()).nth(number.into()).unwrap_or_default()
}
