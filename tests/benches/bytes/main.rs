//! Bytes in and out of a guest, by `exec` and by the tunnel, and what a keystroke takes beside each: `cargo bench -p tests
//! --bench bytes`. The tunnel's bytes are those of a CONNECT through the guest's proxy to a server on this machine's loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use tests::{Host, api::Attached, paths};
use tokio::runtime::Runtime;

/// Bytes that are carried for each figure.
const BULK: usize = 64 << 20;
/// How often each way is measured, one after the other.
const ROUNDS: usize = 3;
/// Keystrokes that are measured alone, and beside each way.
const KEYS: usize = 150;
/// Characters that no escape sequence has: what is typed is found again in what is drawn.
const TYPED: &[u8] = b"@#%&=+_^";
/// Gives each byte back as it comes.
const MIRROR: &str = "stty raw -echo; echo ready; exec cat";
/// Room for whoever has to wait for a busy machine.
const FOREVER: usize = 1 << 40;

fn main() {
    let host = Host::start();
    let machine = host.cli(["host", "show", "--json"]).json();
    println!(
        "QEMU {}, accelerator {}\n",
        machine["qemu_version"].as_str().unwrap_or("?"),
        machine["accelerator"].as_str().unwrap_or("?").to_uppercase()
    );
    let port = world();
    allow(&host, port);
    let id = host.session("mirror", &["sh", "-c", MIRROR]);
    let empty = tempfile::NamedTempFile::new().unwrap();
    let ways = [Way::Out, Way::Into, Way::Down, Way::Up];
    let mut times = [const { Vec::new() }; 4];
    for _ in 0..ROUNDS {
        for (way, times) in ways.iter().zip(&mut times) {
            empty.as_file().set_len(BULK as u64).unwrap();
            let began = Instant::now();
            let ended = way.start(&host, &id, port, BULK, empty.reopen().unwrap()).wait().unwrap();
            assert!(ended.success(), "{way:?}");
            times.push(began.elapsed());
        }
    }
    for (way, times) in ways.iter().zip(times) {
        #[allow(clippy::cast_precision_loss)] // megabytes
        let rate = BULK as f64 / 1e6 / median(times).as_secs_f64();
        println!("{:42}  {rate:>8.1} MB/s", way.words());
    }
    let runtime = Runtime::new().unwrap();
    let alone = runtime.block_on(keystrokes(&host, &id));
    println!("{:42}  {:>8.2} ms", "keystroke echo, alone", millis(alone));
    for way in ways {
        empty.as_file().set_len(FOREVER as u64).unwrap();
        let mut beside = way.start(&host, &id, port, FOREVER, empty.reopen().unwrap());
        // It is under way by then.
        runtime.block_on(tokio::time::sleep(Duration::from_secs(1)));
        let took = runtime.block_on(keystrokes(&host, &id));
        assert!(beside.try_wait().unwrap().is_none(), "{way:?} is over before the keystrokes are");
        beside.kill().unwrap();
        beside.wait().unwrap();
        let what = format!("keystroke echo, beside {}", way.words());
        let ratio = took.as_secs_f64() / alone.as_secs_f64();
        println!("{what:52}  {:>8.2} ms   {ratio:5.2} x  alone", millis(took));
    }
}

/// A way of bytes.
#[derive(Clone, Copy, Debug)]
enum Way {
    Out,
    Into,
    Down,
    Up,
}

impl Way {
    fn words(self) -> &'static str {
        match self {
            Self::Out => "exec, out of the guest",
            Self::Into => "exec, into the guest",
            Self::Down => "tunnel, into the guest",
            Self::Up => "tunnel, out of the guest",
        }
    }

    fn start(self, host: &Host, id: &str, port: u16, bytes: usize, empty: File) -> Child {
        let connect = format!(
            "exec 3<>/dev/tcp/127.0.0.1/3128; \
             printf 'CONNECT host.pilothouse.internal:{port} HTTP/1.1\\r\\nHost: host\\r\\n\\r\\n' >&3; \
             read -r _ status _ <&3; [ $status = 200 ]; while read -r line <&3 && [ ${{#line}} -gt 1 ]; do :; done; "
        );
        let line = match self {
            Self::Out => format!("exec head -c {bytes} /dev/zero"),
            Self::Into => "exec cat >/dev/null".into(),
            Self::Down => format!("{connect} echo down {bytes} >&3; exec cat <&3 >/dev/null"),
            Self::Up => format!("{connect} echo up {bytes} >&3; head -c {bytes} /dev/zero >&3; read -r done <&3"),
        };
        let mut command = host.pilothouse();
        command.args(["exec", id, "--", "bash", "-ec", &line]);
        let stdin = if matches!(self, Self::Into) { Stdio::from(empty) } else { Stdio::null() };
        command.stdin(stdin).stdout(Stdio::null()).spawn().unwrap()
    }
}

/// Lets sessions reach this port of the host. The same build: it is there already.
fn allow(host: &Host, port: u16) {
    let tools = fs::read_to_string(paths::root().join("tests/environments/tools.toml")).unwrap();
    let recipe = host.data().join("tools.toml");
    fs::write(&recipe, format!("{tools}\negress = [\"host.pilothouse.internal:{port}\"]\n")).unwrap();
    assert!(host.cli(["env", "build", recipe.to_str().unwrap()]).text().contains("was built before"));
}

/// A server that gives zeros, or takes anything, as its first line says. Returns its port.
fn world() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            // Who is killed breaks the connection.
            std::thread::spawn(move || drop(answer(stream)));
        }
    });
    port
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::with_capacity(256 << 10, stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let (what, bytes) = line.trim().split_once(' ').expect("what and how many");
    let mut left: usize = bytes.parse().expect("a number");
    if what == "down" {
        let zeros = vec![0; 256 << 10];
        while left > 0 {
            left -= stream.write(&zeros[..left.min(zeros.len())])?;
        }
        return Ok(());
    }
    let mut buffer = vec![0; 256 << 10];
    while left > 0 {
        let length = buffer.len().min(left);
        match reader.read(&mut buffer[..length])? {
            0 => return Ok(()),
            more => left -= more,
        }
    }
    stream.write_all(b"done\n")
}

async fn keystrokes(host: &Host, id: &str) -> Duration {
    let mut terminal = Attached::open(host, id, false).await;
    terminal.read_role(|role| role.writer).await;
    let mut times = Vec::new();
    for number in 0..KEYS {
        let key = TYPED[number % TYPED.len()];
        terminal.output.clear();
        let began = Instant::now();
        terminal.send([key]).await;
        terminal.read_until(std::str::from_utf8(&[key]).unwrap()).await;
        times.push(began.elapsed());
    }
    median(times)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
