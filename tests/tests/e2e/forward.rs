//! Ports and files of a session on this machine.

use std::{
    fs::{self, Permissions},
    io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
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

/// A folder goes into the VM and comes back, changed there.
fn copies(host: &Host, id: &str) {
    let here = tempfile::tempdir().unwrap();
    let large: Vec<u8> = (0..1_u32 << 18).flat_map(u32::to_le_bytes).collect();
    fs::create_dir(here.path().join("src")).unwrap();
    fs::write(here.path().join("src/large"), &large).unwrap();
    fs::write(here.path().join("src/tool"), "#!/bin/sh\necho ran\n").unwrap();
    fs::set_permissions(here.path().join("src/tool"), Permissions::from_mode(0o750)).unwrap();
    let (src, back) = (here.path().join("src"), here.path().join("back"));
    let told = host.cli(["cp", "--json", src.to_str().unwrap(), &format!("{id}:/tmp")]).json();
    assert_eq!((&told[0]["files"], &told[0]["whole"]), (&2.into(), &true.into()), "{told}");
    let changed =
        host.exec(id, &["sh", "-c", "cd /tmp/src && ./tool >out && ln -s out link && rm tool && cksum large"]);
    assert!(changed.code == 0 && changed.text().starts_with(&cksum(&src.join("large"))), "{changed}");
    let kept = host.cli(["cp", src.to_str().unwrap(), &format!("{id}:/tmp")]);
    assert!(kept.code == 4 && kept.stderr.contains("is there already"), "{kept}");
    let fetched = host.cli(["cp", &format!("{id}:/tmp/src"), back.to_str().unwrap()]);
    assert_eq!(fetched.code, 0, "{fetched}");
    assert_eq!(fs::read(back.join("large")).unwrap(), large);
    assert_eq!(fs::read_to_string(back.join("link")).unwrap(), "ran\n");
}

/// As cksum(1) begins its line.
fn cksum(path: &Path) -> String {
    let output = Command::new("cksum").arg(path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

#[test]
fn ports_and_files_of_a_session_are_here_also_after_a_suspend() {
    let host = Host::start();
    let id = host.session("server", &["perl", "-e", SERVER]);
    let ready = host.exec(&id, &["sh", "-c", "until grep -q :1F90 /proc/net/tcp; do sleep 0.1; done"]);
    assert_eq!(ready.code, 0, "{ready}");
    let (_forward, local) = forward(&host, &id);
    copies(&host, &id);

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
    // A wrong path here wakes nothing.
    let missing = host.cli(["cp", "/nothing here", &format!("{id}:/tmp")]);
    assert_eq!((missing.code, &host.show(&id)["lifecycle"]), (1, &"suspended".into()), "{missing}");
    let mut woken = BufReader::new(TcpStream::connect(&local).unwrap());
    line.clear();
    woken.read_line(&mut line).unwrap();
    assert_eq!((line.as_str(), &host.show(&id)["lifecycle"]), ("life 3\n", &"running".into()));

    let told = host.cli(["events", &id]).text();
    let connected = told.lines().filter(|line| line.contains("connected") && line.contains("port 8080"));
    assert_eq!(connected.count(), 2, "those that follow each other are told once: {told}");
}
