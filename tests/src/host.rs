//! A real `hostd` on a data folder of its own. Dropping it ends it and every VM of its folder, also on a panic.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    Outcome, golden, paths,
    process::{Process, vms_in},
    run, until,
    wait::{BOOT, SOON},
};

/// A running hostd, and its data folder.
pub struct Host {
    data: PathBuf,
    // Short, whatever the path of the data folder: a socket's path has 107 bytes.
    sockets: TempDir,
    environment: Vec<(String, String)>,
    /// Bytes of room for the sessions' folder, where it is a file system of its own.
    room: Option<u64>,
    /// Keeps the file system that all of the data folder is, where it has one of its own.
    small: Option<Small>,
    arguments: Vec<String>,
    /// Most files that hostd may have open, where that is limited.
    files: Option<u32>,
    daemon: Option<(Child, Process)>,
    // Last, so that it goes after everything that uses it.
    _folder: Option<TempDir>,
}

impl Host {
    /// Starts hostd on a fresh data folder that has kernel, images and the `tools` environment.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts hostd as [`Host::start`], with its environment changed.
    #[must_use]
    pub fn start_with(environment: &[(&str, &str)]) -> Self {
        let folder = paths::folder();
        golden::give(folder.path());
        Self::serve(folder.path().to_owned(), Some(folder), environment)
    }

    /// Starts hostd as [`Host::start`], with at most `files` open files.
    #[must_use]
    pub fn start_with_files(files: u32) -> Self {
        let mut host = Self::start();
        host.stop();
        host.files = Some(files);
        host.launch();
        host
    }

    /// Starts hostd as [`Host::start`], with `room` bytes for its sessions: a file system of its own, in a name space of
    /// hostd's.
    #[must_use]
    pub fn start_cramped(room: u64) -> Self {
        let folder = paths::folder();
        golden::give(folder.path());
        Self::serve_in(folder.path().to_owned(), Some(folder), &[], Some(room))
    }

    /// Starts hostd on an empty data folder.
    #[must_use]
    pub fn empty(environment: &[(&str, &str)]) -> Self {
        let folder = paths::folder();
        Self::serve(folder.path().to_owned(), Some(folder), environment)
    }

    /// Starts hostd on this data folder, which stays.
    #[must_use]
    pub fn on(data: PathBuf) -> Self {
        Self::serve(data, None, &[])
    }

    fn serve(data: PathBuf, folder: Option<TempDir>, environment: &[(&str, &str)]) -> Self {
        Self::serve_in(data, folder, environment, None)
    }

    fn serve_in(data: PathBuf, folder: Option<TempDir>, environment: &[(&str, &str)], room: Option<u64>) -> Self {
        let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let sockets = tempfile::Builder::new().prefix("pilothouse-test-").tempdir().unwrap();
        let (small, arguments) = (None, vec![]);
        let mut host =
            Self { data, sockets, environment, room, small, arguments, files: None, daemon: None, _folder: folder };
        host.launch();
        host
    }

    /// Starts hostd as [`Host::start`], with `room` bytes for all that it writes, and guests that are made up: a file system of
    /// its own in a name space, which outlives hostd.
    #[must_use]
    pub fn start_small(room: u64) -> Self {
        let folder = tempfile::Builder::new().prefix("run-").tempdir_in(paths::cache()).unwrap();
        golden::give(folder.path());
        let data = folder.path().to_owned();
        let sockets = tempfile::Builder::new().prefix("pilothouse-test-").tempdir().unwrap();
        let small = Some(Small::mount(&data, room));
        let arguments = ["--vmm", "simulated"].map(Into::into).into();
        let (environment, folder) = (vec![], Some(folder));
        let mut host = Self {
            data,
            sockets,
            environment,
            room: None,
            small,
            arguments,
            files: None,
            daemon: None,
            _folder: folder,
        };
        host.launch();
        host
    }

    /// Starts hostd on an empty data folder, with guests that are made up, and with these arguments.
    #[must_use]
    pub fn simulated(arguments: &[&str]) -> Self {
        let folder = paths::folder();
        let sockets = tempfile::Builder::new().prefix("pilothouse-test-").tempdir().unwrap();
        let arguments = ["--vmm", "simulated"].iter().chain(arguments).map(|&word| word.into()).collect();
        let mut host = Self {
            data: folder.path().to_owned(),
            sockets,
            environment: vec![],
            room: None,
            small: None,
            arguments,
            files: None,
            daemon: None,
            _folder: Some(folder),
        };
        host.launch();
        host
    }

    /// A path in the data folder, as hostd sees it; also while none runs.
    #[must_use]
    pub fn seen(&self, path: &str) -> PathBuf {
        let small = self.small.as_ref().unwrap();
        PathBuf::from(format!("/proc/{}/root{}", small.holder.id(), self.data.join(path).display()))
    }

    /// Starts hostd (again) and waits until it answers.
    pub fn launch(&mut self) {
        let log = File::options().create(true).append(true).open(self.log()).unwrap();
        let mut command = match (self.room, &self.small) {
            (None, None) => match self.files {
                None => {
                    // A write beyond the limit of `write_no_further` is an error then, and not the end.
                    let mut command = Command::new("sh");
                    command.args(["-c", "trap '' XFSZ && exec \"$@\"", "sh"]).arg(paths::program("hostd"));
                    command
                }
                Some(files) => {
                    let mut command = Command::new("sh");
                    command.args(["-c", "ulimit -n $1 && shift && exec \"$@\"", "sh", &files.to_string()]);
                    command.arg(paths::program("hostd"));
                    command
                }
            },
            (_, Some(small)) => {
                let mut command = Command::new("nsenter");
                command.args(["--preserve-credentials", "-U", "-m", "-t", &small.holder.id().to_string()]);
                command.arg(paths::program("hostd"));
                command
            }
            (Some(room), None) => {
                let sessions = self.data.join("sessions");
                fs::create_dir_all(&sessions).unwrap();
                let mut command = Command::new("unshare");
                let mount = "mount -t tmpfs -o size=$1,mode=700 room \"$2\" && shift 2 && exec \"$@\"";
                command.args(["-Urm", "sh", "-c", mount, "sh", &room.to_string()]).arg(sessions);
                command.arg(paths::program("hostd"));
                command
            }
        };
        command.args(["serve", "--stop-vms", "--data"]).arg(&self.data).args(["--listen", &self.address()]);
        command.args(&self.arguments);
        command.envs(self.environment.iter().map(|(k, v)| (k, v))).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap();
        let process = Process::of(child.id().try_into().unwrap()).unwrap();
        self.daemon = Some((child, process));
        until("hostd to answer", SOON, || {
            assert!(process.runs(), "hostd ended:\n{}", fs::read_to_string(self.log()).unwrap_or_default());
            (self.cli(["host", "ls"]).code == 0).then_some(())
        });
    }

    /// Changes the environment of the next hostd that is launched.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.into(), value.into()));
    }

    /// Has every write of hostd to a file fail from this offset on, as on a broken disk; None: none fails. VMs that run go on
    /// writing.
    pub fn write_no_further(&self, offset: Option<u64>) {
        self.daemon.as_ref().unwrap().1.limit_files(offset);
    }

    /// Kills hostd with -9.
    pub fn kill(&mut self) {
        let (mut child, process) = self.daemon.take().unwrap();
        process.signal(Signal::KILL);
        child.wait().unwrap();
    }

    /// Ends hostd in good order, and leaves what runs to the next one.
    pub fn leave(&mut self) {
        let (mut child, _) = self.daemon.take().unwrap();
        let mut command = Command::new(paths::program("hostd"));
        let _ = run(command.args(["stop", "--vms", "leave", "--data"]).arg(&self.data), &[]).text();
        child.wait().unwrap();
    }

    /// Ends hostd in good order: what runs is suspended.
    pub fn stop(&mut self) {
        if let Some((mut child, process)) = self.daemon.take() {
            process.end(Duration::from_secs(90));
            let _ = child.wait();
        }
    }

    /// Ends hostd by a second signal, before it has suspended what runs.
    fn hurry(&mut self) {
        if let Some((mut child, process)) = self.daemon.take() {
            // Two signals of one kind may come as one.
            process.signal(Signal::INT);
            process.end(Duration::from_secs(20));
            let _ = child.wait();
        }
    }

    /// The most memory that hostd has had at once, in bytes.
    #[must_use]
    pub fn peak(&self) -> u64 {
        let (child, _) = self.daemon.as_ref().unwrap();
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
    }

    /// Number of files that hostd has open.
    #[must_use]
    pub fn open_files(&self) -> usize {
        let (child, _) = self.daemon.as_ref().unwrap();
        fs::read_dir(format!("/proc/{}/fd", child.id())).unwrap().count()
    }

    /// Path of the sessions' folder, as hostd sees it.
    #[must_use]
    pub fn sessions(&self) -> PathBuf {
        let (child, _) = self.daemon.as_ref().unwrap();
        PathBuf::from(format!("/proc/{}/root{}", child.id(), self.data.join("sessions").display()))
    }

    /// Path of the data folder.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Address of hostd, which clients are given as `--host`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("unix:{}", self.socket().display())
    }

    /// Path of hostd's socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.sockets.path().join("hostd.sock")
    }

    /// Path of the file with hostd's own output.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.sockets.path().join("hostd.log")
    }

    /// The command `pilothouse`, for this host, with folders of its own.
    #[must_use]
    pub fn pilothouse(&self) -> Command {
        let mut command = Command::new(paths::program("pilothouse"));
        command.env("PILOTHOUSE_HOST", self.address()).env("XDG_CONFIG_HOME", self.sockets.path().join("config"));
        command.env("XDG_STATE_HOME", self.sockets.path().join("state"));
        command
    }

    /// Runs `pilothouse ARGS`.
    #[must_use]
    pub fn cli<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Outcome {
        self.cli_with(args, &[])
    }

    /// Runs `pilothouse ARGS` with `stdin`.
    #[must_use]
    pub fn cli_with<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>, stdin: &[u8]) -> Outcome {
        run(self.pilothouse().args(args), stdin)
    }

    /// Runs a command in a session's VM.
    #[must_use]
    pub fn exec(&self, id: &str, command: &[&str]) -> Outcome {
        self.cli(["exec", id, "--"].iter().chain(command))
    }

    /// Dispatches a session in `tools` with this agent (empty: the environment's), not yet started; returns its id.
    #[must_use]
    pub fn dispatch(&self, title: &str, command: &[&str]) -> String {
        let mut args = vec!["new", "--env", "tools", "--title", title];
        if !command.is_empty() {
            args.push("--");
            args.extend(command);
        }
        self.cli(args).text()
    }

    /// Dispatches a session as [`Host::dispatch`], and waits until it runs; returns its id.
    #[must_use]
    pub fn session(&self, title: &str, command: &[&str]) -> String {
        let id = self.dispatch(title, command);
        self.wait_for(&id, "lifecycle", "running");
        id
    }

    /// Paths of the templates' folders.
    #[must_use]
    pub fn templates(&self) -> Vec<PathBuf> {
        let builds = fs::read_dir(self.data.join("builds")).unwrap();
        builds.map(|build| build.unwrap().path().join("template")).filter(|template| template.exists()).collect()
    }

    /// Removes the templates: sessions boot from now on.
    pub fn boot_only(&self) {
        self.templates().iter().for_each(|template| fs::remove_dir_all(template).unwrap());
    }

    /// The session as `show --json` gives it.
    #[must_use]
    pub fn show(&self, id: &str) -> Value {
        self.cli(["show", "--json", id]).json()
    }

    /// The slug of a session.
    #[must_use]
    pub fn slug(&self, id: &str) -> String {
        self.show(id)["slug"].as_str().unwrap().to_owned()
    }

    /// All sessions as `ls --json` gives them.
    #[must_use]
    pub fn ls(&self) -> Vec<Value> {
        self.cli(["ls", "--json"]).json().as_array().unwrap().clone()
    }

    /// Waits until a field of a session has this value. Panics when the session crashed on the way.
    pub fn wait_for(&self, id: &str, field: &str, value: &str) {
        let mut last = Value::Null;
        until(&format!("{field} of {id} to be {value}"), BOOT, || {
            last = self.show(id);
            let crashed = last["lifecycle"] == "crashed" && value != "crashed";
            assert!(!crashed, "crashed: {last}\n{}", self.cli(["log", "--serial", id]));
            (last[field] == value).then_some(())
        });
    }

    /// The VMs that run on the data folder.
    #[must_use]
    pub fn vms(&self) -> Vec<Process> {
        vms_in(&self.data)
    }

    /// Waits until no VM is left.
    pub fn wait_for_no_vm(&self) {
        until("the VMs to be gone", SOON, || self.vms().is_empty().then_some(()));
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.log()).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- the end of hostd's log\n{}", lines[lines.len().saturating_sub(40)..].join("\n"));
        }
        self.hurry();
        for vm in self.vms() {
            vm.end(Duration::ZERO);
        }
    }
}

/// A process that keeps a name space in which a folder is a small file system, with what was in it before bound into it.
struct Small {
    holder: Child,
}

impl Small {
    fn mount(folder: &Path, room: u64) -> Self {
        let script = "set -e; mount -t tmpfs -o size=$1,mode=700 room /mnt
            for from in \"$2\"/*/; do to=/mnt/$(basename \"$from\"); mkdir \"$to\"; mount --bind \"$from\" \"$to\"; done
            mount --rbind /mnt \"$2\"; echo mounted; exec sleep infinity";
        let mut command = Command::new("unshare");
        command.args(["-Urm", "sh", "-c", script, "sh", &room.to_string()]).arg(folder);
        let mut holder = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let small = Self { holder };
        assert_eq!(line, "mounted\n");
        small
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
