//! Environments on images of a container registry: Debian's own `docker-registry`, an image made here, a real VM.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use tests::{Host, run, until, wait::SOON};

/// A registry on this machine's loopback. It ends with the test.
pub(crate) struct Registry {
    server: Child,
    pub(crate) address: String,
    _folder: tempfile::TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let pid = Pid::from_child(&self.server);
        let _ = kill_process(pid, Signal::TERM);
        let _ = self.server.wait();
    }
}

impl Registry {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (address, config) = (format!("127.0.0.1:{port}"), folder.path().join("config.yml"));
        let data = folder.path().join("data");
        let text = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n",
            data.display()
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new(program());
        let command = command.arg("serve").arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let registry = Self {
            server: command.spawn().expect("docker-registry, which tests/setup.sh fetches"),
            address,
            _folder: folder,
        };
        until("the registry to listen", SOON, || TcpStream::connect(&registry.address).ok());
        registry
    }

    /// Sends a request; returns the status, and where it leads on to.
    fn send(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let (host, length) = (&self.address, body.len());
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        stream.write_all(body).unwrap();
        let mut reader = BufReader::new(stream);
        let (mut line, mut status, mut location) = (String::new(), 0, String::new());
        while reader.read_line(&mut line).unwrap() > 2 {
            if status == 0 {
                status = line.split(' ').nth(1).unwrap().parse().unwrap();
            } else if let Some(place) = line.to_ascii_lowercase().find("location: ").filter(|at| *at == 0) {
                line[place + 10..].trim().clone_into(&mut location);
            }
            line.clear();
        }
        let _ = reader.read_to_end(&mut vec![]);
        (status, location)
    }

    /// Puts bytes there; returns how a manifest names them.
    fn push(&self, kind: &str, bytes: &[u8]) -> String {
        let digest = format!("sha256:{}", sha256(bytes));
        let (status, location) = self.send("POST", "/v2/team/app/blobs/uploads/", "", &[]);
        assert_eq!(status, 202);
        let path = location.split_once(&self.address).unwrap().1;
        let (status, _) = self.send("PUT", &format!("{path}&digest={digest}"), "application/octet-stream", bytes);
        assert_eq!(status, 201);
        format!(r#"{{"mediaType":"{kind}","digest":"{digest}","size":{}}}"#, bytes.len())
    }

    /// Puts an image there, as OCI has it.
    pub(crate) fn image(&self, tag: &str, config: &str, layers: &[Vec<u8>]) {
        let config = self.push("application/vnd.oci.image.config.v1+json", config.as_bytes());
        let layers =
            layers.iter().map(|layer| self.push("application/vnd.oci.image.layer.v1.tar+gzip", layer)).collect();
        self.manifest(tag, &config, layers);
    }

    /// Puts a feature of devcontainers there, as its own tools do.
    pub(crate) fn feature(&self, tag: &str, archive: &[u8]) {
        let config = self.push("application/vnd.devcontainers", b"{}");
        self.manifest(tag, &config, vec![self.push("application/vnd.devcontainers.layer.v1+tar", archive)]);
    }

    fn manifest(&self, tag: &str, config: &str, layers: Vec<String>) {
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let manifest =
            format!(r#"{{"schemaVersion":2,"mediaType":"{kind}","config":{config},"layers":[{}]}}"#, layers.join(","));
        let (status, _) = self.send("PUT", &format!("/v2/team/app/manifests/{tag}"), kind, manifest.as_bytes());
        assert_eq!(status, 201);
    }
}

/// The registry's program: where setup.sh keeps it, or on PATH.
fn program() -> PathBuf {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")));
    let kept = cache.map(|cache| cache.join("pilothouse/tools/bin/docker-registry")).filter(|path| path.is_file());
    kept.unwrap_or_else(|| "docker-registry".into())
}

fn sha256(bytes: &[u8]) -> String {
    run(&mut Command::new("sha256sum"), bytes).text().split(' ').next().unwrap().to_owned()
}

/// A folder as a layer.
pub(crate) fn layer(folder: &Path) -> Vec<u8> {
    let output =
        Command::new("tar").args(["-cz", "--owner=0", "--group=0", "-C"]).arg(folder).arg(".").output().unwrap();
    assert!(output.status.success());
    output.stdout
}

/// A system of busybox alone, which needs no library of its own.
fn busybox() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let bin = folder.path().join("bin");
    fs::create_dir(&bin).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::copy("/bin/busybox", bin.join("busybox")).unwrap();
    for name in ["sh", "id", "pwd", "cat", "ls", "sleep", "true", "echo", "head", "tr", "mkdir", "adduser", "chown"] {
        symlink("busybox", bin.join(name)).unwrap();
    }
    fs::create_dir(folder.path().join("etc")).unwrap();
    fs::write(folder.path().join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
    fs::write(folder.path().join("gone"), "hidden").unwrap();
    layer(folder.path())
}

fn whiteout() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(folder.path().join(".wh.gone"), "").unwrap();
    layer(folder.path())
}

/// An image without GNU's C library, whose programs run as a number without a name: it is built, its session runs as the image
/// says, and goes on after a suspend.
#[test]
fn an_environment_on_an_image_runs_as_the_image_says() {
    let (registry, host) = (Registry::start(), Host::start());
    let config = r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]},
        "config":{"Env":["A=image","PATH=/bin"],"WorkingDir":"/srv/app","User":"1000"}}"#;
    registry.image("1", config, &[busybox(), whiteout()]);
    let recipe = host.data().join("app.toml");
    let text = format!(
        "name = \"app\"\nbase = {{ oci = \"{}/team/app:1\" }}\nsetup = [\"echo from-setup >made\"]\n\
         agent = {{ command = [\"sh\", \"-c\", \"echo $A $PWD; sleep 1000000\"] }}\n\
         size = {{ memory = \"128MiB\", disk = \"1GiB\" }}\n",
        registry.address
    );
    fs::write(&recipe, text).unwrap();
    let built = host.cli(["env", "build", recipe.to_str().unwrap()]).text();
    assert!(built.contains("app is ready"), "{built}");
    let shown = host.cli(["env", "show", "app"]).text();
    assert!(shown.contains(&format!("{}/team/app:1@sha256:", registry.address)), "{shown}");
    // What it is made from is here now.
    drop(registry);

    let id = host.cli(["new", "--env", "app", "--title", "image"]).text();
    host.wait_for(&id, "lifecycle", "running");
    until("the agent's words", SOON, || host.cli(["log", &id]).text().contains("image /srv/app").then_some(()));
    let script = "id -u; pwd; echo $A; cat made; ls /; cat /etc/passwd";
    let said = host.exec(&id, &["sh", "-c", script]).text();
    assert!(said.starts_with("1000\n/srv/app\nimage\nfrom-setup\n"), "{said}");
    assert!(said.ends_with("user1000:x:1000:0::/:/bin/sh") && !said.contains("gone"), "{said}");
    let _ = host.cli(["suspend", &id]).text();
    assert_eq!(host.exec(&id, &["pwd"]).text(), "/srv/app");
}
