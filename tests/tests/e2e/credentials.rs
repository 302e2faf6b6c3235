//! Secrets stay on the host: requests have them when they arrive, and nothing of the guest ever does.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::fs::{FileExt as _, PermissionsExt as _},
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
};

use tests::{Host, paths};

use crate::tls::{self, NAME};

const SECRET: &str = "canary-4fb1c2-of-the-host";
/// As the server has it from git: `me:SECRET`.
const BASIC: &str = "Basic bWU6Y2FuYXJ5LTRmYjFjMi1vZi10aGUtaG9zdA==";
const STAND_IN: &str = "stand-in-77aa41-of-the-guest";

/// A server on the host's loopback, with a certificate of its own authority.
struct World {
    port: u16,
    ca: String,
    /// What it was asked, with whether the request had the secret.
    seen: Arc<Mutex<Vec<(String, bool)>>>,
}

impl World {
    fn new(repository: &Path) -> Self {
        let seen = Arc::new(Mutex::new(vec![]));
        let (kept, repository) = (seen.clone(), repository.to_owned());
        let (port, ca) = tls::serve(move |stream| serve(stream, &kept, &repository));
        Self { port, ca, seen }
    }

    /// What it was asked since the last time.
    fn seen(&self) -> Vec<(String, bool)> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

/// Answers one request after the other: git's, and any other with its path.
fn serve(stream: tls::Stream, seen: &Mutex<Vec<(String, bool)>>, repository: &Path) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut line, mut length, mut has) = (String::new(), 0, false);
        if stream.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        loop {
            let mut header = String::new();
            stream.read_line(&mut header)?;
            let Some((name, value)) = header.trim_end().split_once(": ") else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().unwrap(),
                "x-api-key" => has |= value == SECRET,
                "authorization" => has |= value == BASIC,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        seen.lock().unwrap().push((path.clone(), has));
        let (kind, answer) = match path.as_str() {
            "/w.git/info/refs?service=git-upload-pack" => {
                let refs = upload_pack(repository, "--http-backend-info-refs", &[]);
                (
                    "application/x-git-upload-pack-advertisement",
                    [&b"001e# service=git-upload-pack\n0000"[..], &refs].concat(),
                )
            }
            "/w.git/git-upload-pack" => {
                ("application/x-git-upload-pack-result", upload_pack(repository, "--stateless-rpc", &body))
            }
            _ => ("text/plain", format!("answer to {path}").into_bytes()),
        };
        let status = if has { "200 OK" } else { "401 Unauthorized" };
        let head = format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", answer.len());
        stream.get_mut().write_all(&[head.as_bytes(), &answer].concat())?;
        stream.get_mut().flush()?;
    }
}

fn upload_pack(repository: &Path, how: &str, input: &[u8]) -> Vec<u8> {
    let mut git = Command::new("git");
    git.args(["-c", "safe.directory=*", "upload-pack", how])
        .arg(repository)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = git.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap().stdout
}

/// Files of a host that nobody else may read.
fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Files below a folder that have it in them. grep is quick with what is large, and skips holes.
fn files_with(what: &str, folder: &Path) -> Vec<String> {
    let grep = Command::new("grep").args(["-rlaF", "--devices=skip", "-e", what]).arg(folder).output().unwrap();
    assert!(grep.status.code().is_some_and(|code| code < 2), "{}", String::from_utf8_lossy(&grep.stderr));
    String::from_utf8(grep.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Whether the memory of a process, and so of the guest that it runs, has it.
fn memory_has(what: &str, pid: i32) -> bool {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut grep = Command::new("grep").args(["-qaF", "-e", what]).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = grep.stdin.take().unwrap();
    let mut buffer = vec![0; 1 << 20];
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let [mut at, to] = [from, to].map(|hex| u64::from_str_radix(hex, 16).unwrap());
        while at < to {
            let wanted = usize::try_from(to - at).unwrap().min(buffer.len());
            // What cannot be read is not of the guest's; what was found is not looked for any more.
            let Ok(length @ 1..) = memory.read_at(&mut buffer[..wanted], at) else { break };
            if input.write_all(&buffer[..length]).is_err() {
                break;
            }
            at += length as u64;
        }
    }
    drop(input);
    grep.wait().unwrap().success()
}

fn shell(host: &Host, id: &str, script: &str) -> String {
    host.exec(id, &["sh", "-c", script]).text()
}

#[test]
fn requests_have_the_secret_and_nothing_of_the_guest_ever_does() {
    let mut host = Host::start();
    let elsewhere = tempfile::tempdir().unwrap();
    let world = World::new(&host.data().join("git/widgets.git"));
    let port = world.port;
    let name = format!("{NAME}:{port}");
    write(&elsewhere.path().join("secret"), &format!("{SECRET}\n"));
    write(&elsewhere.path().join("ca.pem"), &world.ca);
    let folder = elsewhere.path().display();
    let usual = format!("hosts = ['{name}']\nsecret = {{ file = '{folder}/secret' }}\nca = '{folder}/ca.pem'\n");
    let text = format!(
        "[[credential]]\nname = 'model'\n{usual}header = 'x-api-key'\npath = '/v1/'\nvariables.API_KEY = '{STAND_IN}'\n\
         [[credential]]\nname = 'forge'\n{usual}git = {{ user = 'me' }}\n"
    );
    write(&host.data().join("credentials.toml"), &text);
    let tools = fs::read_to_string(paths::root().join("tests/environments/tools.toml")).unwrap();
    let recipe = host.data().join("tools.toml");
    fs::write(&recipe, format!("{tools}credentials = ['model', 'forge']\n")).unwrap();
    assert!(host.cli(["env", "build", recipe.to_str().unwrap()]).text().contains("was built before"));
    let listed = host.cli(["credential", "ls", "--json"]).json();
    assert_eq!((&listed[0]["readable"], &listed[0]["environments"][0]), (&true.into(), &"tools".into()), "{listed}");
    let checked = host.cli(["credential", "check", "model", "--json"]).json();
    assert_eq!(checked[0]["answers"][0]["status"], 200, "{checked}");
    assert_eq!(world.seen(), [("/v1/".to_owned(), true)]);

    let id = host.session("trusted", &["bash", "-c", "read go"]);
    // By HTTP/2, by HTTP/1.1 and without the proxy, with what a program that knows of nothing sends.
    for way in ["--http2", "--http1.1", "--noproxy '*'"] {
        let ask = format!("curl -sS {way} -m 60 -H \"x-api-key: $API_KEY\" https://{name}/v1/messages");
        assert_eq!(shell(&host, &id, &ask.replace("$API_KEY", STAND_IN)), "answer to /v1/messages");
    }
    assert_eq!(shell(&host, &id, "echo $API_KEY"), STAND_IN);
    let refused = shell(&host, &id, &format!("curl -sS -m 60 https://{name}/v1/../admin --path-as-is"));
    assert!(refused.contains("this request is not: its path has parts"), "{refused}");
    let elsewhere_host = shell(&host, &id, &format!("curl -sS -m 60 -H 'Host: evil.example' https://{name}/v1/x"));
    assert!(elsewhere_host.contains("is for another host"), "{elsewhere_host}");
    let clone = format!("git clone -q https://{name}/w.git /tmp/w && test -f /tmp/w/README.md && echo cloned");
    assert_eq!(shell(&host, &id, &clone), "cloned");
    // OpenSSL by the system's folder, and without a variable.
    let openssl = format!(
        "env -u SSL_CERT_FILE openssl s_client -proxy 127.0.0.1:3128 -connect {name} -servername {NAME} -CApath \
         /etc/ssl/certs -verify_return_error </dev/null 2>&1 | grep 'Verify return code'"
    );
    assert!(shell(&host, &id, &openssl).contains("0 (ok)"));
    let roots = "grep -c BEGIN $SSL_CERT_FILE; update-ca-certificates >/dev/null 2>&1; grep -c BEGIN $SSL_CERT_FILE";
    let roots = shell(&host, &id, roots);
    let counts: Vec<u32> = roots.lines().map(|line| line.parse().unwrap()).collect();
    assert!(counts[0] == counts[1] && counts[0] > 100, "the system's own are trusted as before: {roots}");
    let seen = world.seen();
    assert!(seen.len() >= 4 && seen.iter().all(|(_, has)| *has), "{seen:?}");

    works_on(&host, &id, &name, &world);
    let vm = host.vms().remove(0).pid();
    shell(&host, &id, "echo 'a word on the disk' >/root/word; sync");
    assert!(memory_has(STAND_IN, vm), "the search finds what is there");
    assert!(!memory_has(SECRET, vm) && !memory_has(BASIC, vm), "the secret is in the guest's memory");

    let fork = host.cli(["fork", &id]).text();
    host.wait_for(&fork, "lifecycle", "running");
    works_on(&host, &fork, &name, &world);
    let _ = host.cli(["suspend", &id]).text();
    host.wait_for(&id, "lifecycle", "suspended");
    // Another hostd, which knows the authority from the session's folder alone.
    host.stop();
    host.launch();
    for id in [&id, &fork] {
        let _ = host.cli(["resume", id]).text();
        host.wait_for(id, "lifecycle", "running");
        works_on(&host, id, &name, &world);
    }
    let _ = host.cli(["suspend", &id]).text();
    host.wait_for(&id, "lifecycle", "suspended");
    for what in [SECRET, BASIC] {
        assert!(host.vms().into_iter().all(|vm| !memory_has(what, vm.pid())));
        assert_eq!(files_with(what, host.data()), Vec::<String>::new());
    }
    assert!(!files_with("a word on the disk", &host.sessions()).is_empty(), "the search finds what is there");
    // The authority's own key: libraries of guests have the words around keys in their code.
    for id in [&id, &fork] {
        let pem = fs::read_to_string(host.sessions().join(id).join("authority.pem")).unwrap();
        let key = pem.lines().skip_while(|line| !line.contains("PRIVATE KEY")).nth(2).unwrap();
        assert_eq!(key.len(), 64, "a whole line, behind the one that says what kind of key it is");
        let files = files_with(key, host.data());
        assert!(!files.is_empty() && files.iter().all(|file| file.ends_with("/authority.pem")), "{files:?}");
    }
}

/// A process that the guest runs anew trusts the session's authority, and its request arrives with the secret.
fn works_on(host: &Host, id: &str, name: &str, world: &World) {
    assert_eq!(shell(host, id, &format!("curl -sS -m 60 https://{name}/v1/more")), "answer to /v1/more");
    assert_eq!(world.seen(), [("/v1/more".to_owned(), true)]);
}
