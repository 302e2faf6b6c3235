//! Messages: what the agent's program reads of them, whatever it does meanwhile, and what is said of one that says nothing.

use serde_json::json;
use tests::{Host, until, wait::SOON};

/// Prints each read of raw input on a line of `/root/MODE`, until it reads Ctrl-D.
const READS: &str = r#"
my ($mode) = @ARGV;
$| = 1;
system("stty raw -echo");
open(my $pid, ">", "/root/$mode.pid");
print $pid $$;
close($pid);
open(my $log, ">", "/root/$mode");
print "\e[?2004h" if $mode eq "paste";
print "reads $mode\r\n";
while (sysread(STDIN, my $bytes, 1 << 16)) {
    last if $bytes eq "\x04";
    $bytes =~ s/([^\x20-\x7e])/sprintf("<%02x>", ord $1)/ge;
    syswrite($log, "$bytes\n");
}
print "\e[?2004l";
system("stty sane");
"#;

/// Busy at first; then it waits for a message, reads its terminal in both ways, and calls somebody without `session status`.
const AGENT: &str = "while ! [ -e /root/go ]; do sleep 0.1; done
session wait message >/root/answer.new
mv /root/answer.new /root/answer
perl /root/reads.pl paste
perl /root/reads.pl plain
printf '\\033]9;Approve it?\\007'
read -r answer
exit 3";

/// The lines of a file of the session, once there are so many.
fn lines(host: &Host, id: &str, file: &str, count: usize) -> Vec<String> {
    until(&format!("{count} lines in {file}"), SOON, || {
        let text = host.exec(id, &["cat", file]);
        let lines: Vec<_> = String::from_utf8_lossy(&text.stdout).lines().map(str::to_owned).collect();
        (text.code == 0 && lines.len() >= count).then_some(lines)
    })
}

fn send(host: &Host, id: &str, more: &[&str]) {
    let _ = host.cli([&["send", id], more].concat()).text();
}

#[test]
fn each_message_is_submitted_and_none_is_lost() {
    let host = Host::start();
    let id = host.session("reader", &["sh", "-c", AGENT]);
    host.wait_for(&id, "lifecycle", "running");
    let _ = host.cli_with(["exec", &id, "--", "sh", "-c", "cat >/root/reads.pl"], READS.as_bytes()).text();

    // Nobody reads it, and the machine goes to disk and comes back; then it is what the agent waits for.
    send(&host, &id, &["the", "first"]);
    host.wait_for(&id, "reason", "working (a message is not read yet)");
    let _ = host.cli(["suspend", &id]).text();
    let _ = host.cli(["resume", &id]).text();
    let _ = host.exec(&id, &["touch", "/root/go"]).text();
    let answer = lines(&host, &id, "/root/answer", 1).concat();
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer, json!({"answer": "message", "text": "the first"}));

    pastes(&host, &id);
    plain(&host, &id);
    calls_and_ends(&host, &id);
}

/// Text and Enter are pasted together, also into a program that was stopped, in a machine that was on disk meanwhile.
fn pastes(host: &Host, id: &str) {
    until("the program to read", SOON, || host.cli(["log", id]).text().contains("reads paste").then_some(()));
    let signal = |name: &str| {
        let _ = host.exec(id, &["sh", "-c", &format!("kill -{name} $(cat /root/paste.pid)")]).text();
    };
    signal("STOP");
    send(host, id, &["two\nlines"]);
    send(host, id, &[&"x".repeat(3000)]);
    let _ = host.cli(["suspend", id]).text();
    let _ = host.cli(["resume", id]).text();
    signal("CONT");
    // In as many reads as it takes: Linux passes a terminal's input on in pieces of 2 KiB.
    let read = until("both to be read", SOON, || {
        let text = String::from_utf8_lossy(&host.exec(id, &["cat", "/root/paste"]).stdout).replace('\n', "");
        (text.matches("<1b>[201~<0d>").count() == 2).then_some(text)
    });
    let long = format!("<1b>[200~{}<1b>[201~<0d>", "x".repeat(3000));
    assert_eq!(read, format!("<1b>[200~two<0d>lines<1b>[201~<0d>{long}"));
    send(host, id, &["--key", "C-d"]);
}

/// Enter comes after the text was read, and the next message after that; keys come one by one.
fn plain(host: &Host, id: &str) {
    until("the program to read", SOON, || host.cli(["log", id]).text().contains("reads plain").then_some(()));
    for message in ["a b", "c"] {
        send(host, id, &[message]);
    }
    send(host, id, &["--no-enter", "/x"]);
    // Keys would overtake what is not read yet.
    let _ = lines(host, id, "/root/plain", 5);
    send(host, id, &["--key", "Esc", "--key", "Up"]);
    assert_eq!(lines(host, id, "/root/plain", 7), ["a b", "<0d>", "c", "<0d>", "/x", "<1b>", "<1b>[A"]);
    host.cli(["send", id, "--key", "Entr"]).assert_failed(2, &["is no key"]);
    send(host, id, &["--key", "C-d"]);
}

/// A notification is somebody's turn until they answer. To an agent that has ended nothing is sent, wherever its machine is.
fn calls_and_ends(host: &Host, id: &str) {
    host.wait_for(id, "reason", "calls: Approve it?");
    let calls = host.show(id);
    assert_eq!(
        (&calls["attention"], &calls["word"], &calls["activity"]),
        (&"you".into(), &"calls".into(), &"working".into())
    );
    let _ = host.cli(["suspend", id]).text();
    let kept = host.show(id);
    assert_eq!((&kept["word"], &kept["turn_since"]), (&"calls".into(), &calls["turn_since"]), "{kept}");
    send(host, id, &["yes"]);
    host.wait_for(id, "activity", "failed");
    host.cli(["send", id, "more"]).assert_failed(4, &["its agent has ended; restart"]);
    let _ = host.cli(["suspend", id]).text();
    host.cli(["send", id, "more"]).assert_failed(4, &["its agent has ended; restart"]);
    assert_eq!(host.show(id)["lifecycle"], "suspended", "nothing woke it");
    let _ = host.cli(["restart", "--yes", id]).text();
    host.wait_for(id, "lifecycle", "running");
}
