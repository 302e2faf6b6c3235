//! An answer that streams into a session while that is put to disk.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use tests::{Host, paths, until, wait::SOON};

/// Says a word each tenth of a second until the other side ends that, in an answer that ends with its connection; what is asked for
/// as `/whole` is one word. Returns its port, and what tells of each word (true) and of a stream's end (false).
fn server() -> (u16, Receiver<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tells, told) = sync_channel(4096);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let tells = tells.clone();
            thread::spawn(move || answer(stream, &tells));
        }
    });
    (port, told)
}

fn answer(mut stream: TcpStream, tells: &SyncSender<bool>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let asked = lines.next().unwrap_or_default();
    let _ = lines.take_while(|line| !line.is_empty()).count();
    stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").unwrap();
    if asked.contains("/whole") {
        stream.write_all(b"whole\n").unwrap();
        return;
    }
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let late =
        |error: std::io::Error| matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut);
    while stream.write_all(b"word\n").is_ok() && tells.send(true).is_ok() && stream.read(&mut [0]).is_err_and(late) {}
    let _ = tells.send(false);
}

/// Asks once for each, and keeps how that ended.
const AGENT: &str = "curl -sN $URL/slow >/root/half &
until [ -s /root/half ]; do sleep 0.1; done
session status idle
wait $!
echo $? >/root/half.code
curl -sN $URL/whole >/root/whole
echo $? >/root/whole.code
sleep 1000000";

#[test]
fn a_stream_that_is_cut_by_a_suspend_is_an_error_at_once_and_not_an_end() {
    let host = Host::start();
    let (port, told) = server();
    let tools = fs::read_to_string(paths::root().join("tests/environments/tools.toml")).unwrap();
    let url = format!("host.pilothouse.internal:{port}");
    let recipe = host.data().join("tools.toml");
    let tools = tools.replace("24h", "1s").replacen("agent =", &format!("egress = [\"{url}\"]\nagent ="), 1);
    fs::write(&recipe, tools).unwrap();
    let _ = host.cli(["env", "build", recipe.to_str().unwrap()]).text();

    let id = host.session("streams", &["bash", "-c", &AGENT.replace("$URL", &format!("http://{url}"))]);
    host.wait_for(&id, "activity", "idle");
    let file = |name: &str| {
        let read = host.exec(&id, &["cat", name]);
        (read.code == 0 && !read.stdout.is_empty()).then(|| read.text())
    };
    // Its grace is long over, and it says that it is idle: but something streams into it.
    while told.try_recv().is_ok() {}
    for _ in 0..60 {
        assert!(told.recv_timeout(SOON).expect("a word"), "it streams on");
    }
    let events = host.cli(["events", &id]).text();
    assert!(!events.contains("suspended"), "{events}");

    let _ = host.cli(["suspend", &id]).text();
    host.wait_for_no_vm();
    until("the world to be told", SOON, || told.recv_timeout(SOON).is_ok_and(|word| !word).then_some(()));
    let _ = host.cli(["resume", &id]).text();
    let code = until("the program to be told", SOON, || file("/root/half.code"));
    assert!(file("/root/half").is_some(), "there was a part of the answer");
    assert_eq!(code, "56", "curl's code for a connection that was reset");
    assert_eq!(until("the next try", SOON, || file("/root/whole.code")), "0");
    assert_eq!(file("/root/whole"), Some("whole".into()));
}
