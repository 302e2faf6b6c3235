//! Ports of a session on this machine.

use std::{
    io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    process::{Child, Stdio},
};

use tests::Host;

/// Counts who connects, says so at once, and then says again what it is told until that ends.
const SERVER: &str = r#"
use IO::Socket::INET;
my $listener = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1', LocalPort => 8080, ReuseAddr => 1) or die;
while (my $stream = $listener->accept) {
    $stream->autoflush(1);
    print $stream "life ", ++$n, "\n";
    while (sysread($stream, my $said, 65536)) { print $stream $said; }
    close $stream;
}"#;

/// Ends with the test, also where that fails.
struct Forward(Child);

impl Drop for Forward {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn forward(host: &Host, id: &str) -> (Forward, String) {
    let mut command = host.pilothouse();
    let mut child = command.args(["forward", "--json", id, ":8080"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let read = BufReader::new(child.stdout.take().unwrap()).read_line(&mut line);
    let forward = Forward(child);
    assert!(read.is_ok_and(|read| read > 0), "it listens");
    let told: serde_json::Value = serde_json::from_str(&line).unwrap();
    (forward, told["local"].as_str().unwrap().into())
}

#[test]
fn a_port_of_a_session_is_here_also_after_a_suspend() {
    let host = Host::start();
    let id = host.session("server", &["perl", "-e", SERVER]);
    let ready = host.exec(&id, &["sh", "-c", "until grep -q :1F90 /proc/net/tcp; do sleep 0.1; done"]);
    assert_eq!(ready.code, 0, "{ready}");
    let (_forward, local) = forward(&host, &id);

    // Both directions, each to its own end.
    let mut stream = TcpStream::connect(&local).unwrap();
    stream.write_all(&[b'x'; 1 << 20]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut said = Vec::new();
    stream.read_to_end(&mut said).unwrap();
    assert!(said.starts_with(b"life 1\nxxx") && said.len() == 7 + (1 << 20), "{} bytes", said.len());

    // One that is open when the session is put to disk is cut, and said to be; the next one wakes the session.
    let mut cut = BufReader::new(TcpStream::connect(&local).unwrap());
    let mut line = String::new();
    cut.read_line(&mut line).unwrap();
    assert_eq!(line, "life 2\n");
    let _ = host.cli(["suspend", &id]).text();
    assert_eq!(cut.read_line(&mut line).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(host.show(&id)["lifecycle"], "suspended");
    let mut woken = BufReader::new(TcpStream::connect(&local).unwrap());
    line.clear();
    woken.read_line(&mut line).unwrap();
    assert_eq!((line.as_str(), &host.show(&id)["lifecycle"]), ("life 3\n", &"running".into()));

    let told = host.cli(["events", &id]).text();
    let connected = told.lines().filter(|line| line.contains("connected") && line.contains("port 8080"));
    assert_eq!(connected.count(), 2, "those that follow each other are told once: {told}");
}
