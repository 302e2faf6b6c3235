//! `agent try`: a program in a VM is asked one thing, its model is reached with the host's credential, and nothing is left.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Stdio,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use rustix::process::{Pid, Signal, kill_process};
use tests::{Host, wait::SOON};

const SECRET: &str = "the-secret-of-the-host";
/// What a program of its own has instead of it.
const STAND_IN: &str = "nothing-worth-having";

/// A model: answers whoever has the secret, and keeps whoever asks for `/v1/late` waiting. Returns its port, and what tells of each
/// request that asked it something.
fn model() -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tells, told) = sync_channel(64);
    // It ends with the process.
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let tells = tells.clone();
            thread::spawn(move || answer(stream, &tells));
        }
    });
    (port, told)
}

fn answer(mut stream: TcpStream, tells: &SyncSender<String>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap());
    let (mut first, mut has, mut length) = (String::new(), false, 0);
    let _ = lines.read_line(&mut first);
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line).is_err() || line.trim().is_empty() {
            break;
        }
        let line = line.trim_end().to_ascii_lowercase();
        has |= line == format!("authorization: bearer {SECRET}");
        if let Some(said) = line.strip_prefix("content-length: ") {
            length = said.parse().unwrap();
        }
    }
    let mut asked = vec![0; length];
    if lines.read_exact(&mut asked).is_err() {
        return;
    }
    if first.starts_with("POST") {
        let _ = tells.send(String::from_utf8(asked).unwrap());
    }
    let (status, said) = if has { ("200 OK", "AMBERFALCON\n") } else { ("401 Unauthorized", "who are you?\n") };
    if first.contains("/late") {
        let _ = stream.read(&mut [0]);
        return;
    }
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", said.len());
    let _ = stream.write_all(&[head.as_bytes(), said.as_bytes()].concat());
}

/// A profile of the host's own, whose program asks its model once, on the packages that the golden base has.
fn profile(host: &Host, name: &str, port: u16) {
    let text = format!(
        "name = '{name}'\nabout = 'a small one'\ncommand = ['{name}']\ntask = ['--', '{{task}}']\nuser = 'agent'\n\
         packages = ['ca-certificates', 'curl', 'git', 'htop', 'openssh-server', 'procps', 'vim-tiny']\n\
         check = {{ command = ['{name}', '--version'], prints = '1.2.3' }}\nmemory = '256MiB'\n\
         egress = ['host.pilothouse.internal:{port}']\ncredentials = ['model']\n\
         [[files]]\npath = '/usr/local/bin/{name}'\nmode = '0755'\ntext = '''\n\
         #!/bin/sh\n[ \"$1\" != --version ] || exec echo {name} 1.2.3\necho \"task: $2\"\n\
         curl -fsS -m 600 -H 'Authorization: Bearer {STAND_IN}' --data \"$2\" \
         http://host.pilothouse.internal:{port}/v1/{name} || exit 7\nexec sleep 1000000\n'''\n"
    );
    let folder = host.data().join("agents");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(format!("{name}.toml")), text).unwrap();
}

/// A file that nobody else may read.
fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn nothing_left(host: &Host) {
    assert!(host.ls().is_empty());
    assert_eq!(fs::read_dir(host.sessions()).unwrap().count(), 0);
}

#[test]
fn a_tried_agent_answers_by_the_hosts_credential_and_leaves_nothing() {
    let host = Host::start();
    let (port, told) = model();
    let elsewhere = tempfile::tempdir().unwrap();
    let secret = elsewhere.path().join("secret");
    write(&secret, SECRET);
    let credential = format!(
        "[[credential]]\nname = 'model'\nhosts = ['host.pilothouse.internal:{port}']\nbearer = true\nplain = true\n\
         path = '/v1/'\nsecret = {{ file = '{}' }}\n",
        secret.display()
    );
    write(&host.data().join("credentials.toml"), &credential);
    for name in ["mini", "late"] {
        profile(&host, name, port);
    }

    let tried = host.cli(["agent", "try", "mini", "--json"]).json();
    assert_eq!((&tried["starts"], &tried["answered"]), (&true.into(), &true.into()), "{tried}");
    assert_eq!((&tried["version"], &tried["error"]), (&"mini 1.2.3".into(), &serde_json::Value::Null), "{tried}");
    assert_eq!(tried["credentials"][0]["accepted"], true, "{tried}");
    assert_eq!(tried["reaches"][0]["reached"], true, "{tried}");
    let asked = told.recv_timeout(SOON).unwrap();
    assert!(asked.contains("amber") && !asked.contains("AMBERFALCON"), "the answer is not in the question: {asked}");
    nothing_left(&host);

    // A secret that its model does not take: the program gives up.
    write(&secret, "another");
    let tried = host.cli(["agent", "try", "mini"]);
    let said = String::from_utf8(tried.stdout.clone()).unwrap();
    assert!(tried.code == 1 && said.contains("starts      no: it did not go on"), "{said}");
    assert!(said.contains("does not take the secret: it answered 401"), "{said}");
    assert!(said.contains("stays       the environment try-mini"), "{said}");
    nothing_left(&host);
    while told.try_recv().is_ok() {}

    let mut command = host.pilothouse();
    command.args(["agent", "try", "late"]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let _ = told.recv_timeout(SOON).expect("it asks its model");
    kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    nothing_left(&host);

    crate::rehearsals::a_rehearsed_agent_leaves_nothing_and_its_plain_push_opens_a_pull_request(&host);
}
