//! A host at the other end of the user's own ssh: its configuration, agent, jump hosts and multiplexed connections serve hosts
//! too, and no port is opened. There `hostd dial` connects its stdin and stdout to hostd's socket.

use std::{
    fmt, io,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader},
    process::{ChildStderr, Command},
    task::JoinHandle,
    time::timeout,
};

use super::child_stream::{ChildStream, Leader};

/// Longest wait for ssh to log in and for `hostd dial` to answer.
pub(super) const LOGIN: Duration = Duration::from_secs(20);
/// Longest wait for the last words of an ssh that has hung up.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// What `hostd dial` writes first, once it is connected to hostd.
const GREETING: &[u8] = b"pilothouse-dial 1";
/// Most bytes that a shell over there may print before that.
const NOISE_MAX: u64 = 64 << 10;
/// Most lines of ssh's complaints that are told.
const LINES: usize = 3;
/// Most bytes of ssh's complaints that are kept.
const COMPLAINTS_MAX: usize = 4 << 10;

/// Options of ssh. Nobody can be asked: a question would lie over the console. What the configuration forwards or runs is for logins,
/// and a connection that others share is never one that ends with a console. It ends by itself where the network is gone, also
/// when nobody is left to end it.
const OPTIONS: [&str; 10] = [
    "-T",
    "-a",
    "-x",
    "-oBatchMode=yes",
    "-oClearAllForwardings=yes",
    "-oControlMaster=no",
    "-oRemoteCommand=none",
    "-oConnectTimeout=15",
    "-oServerAliveInterval=5",
    "-oServerAliveCountMax=3",
];

/// Address of a host behind ssh. Its parts can be no options of ssh's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ssh {
    user: Option<String>,
    host: String,
    port: Option<u16>,
    /// Absolute path of hostd's socket over there; None: where hostd puts it by itself.
    socket: Option<String>,
    /// Path of the program hostd over there, where it is not in the PATH of commands.
    program: Option<String>,
}

/// Why ssh brought nobody to a hostd.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct SshError {
    /// What ssh or the other end said; one line.
    message: String,
    /// What a person can do about it.
    pub(crate) hint: String,
}

impl Ssh {
    /// Reads what follows `ssh:`.
    pub(super) fn parse(address: &str) -> Result<Self, &'static str> {
        let rest = address.strip_prefix("//").ok_or("the address begins with //")?;
        let (place, socket) = match rest.split_once('/') {
            None => (rest, None),
            Some((place, "")) => (place, None),
            Some((place, path)) => (place, Some(format!("/{path}"))),
        };
        if socket.as_deref().is_some_and(no_word) {
            return Err("the socket's path has control characters or backslashes");
        }
        let (user, place) = match place.rsplit_once('@') {
            None => (None, place),
            Some((user, place)) => (Some(user), place),
        };
        if user.is_some_and(|user| user.is_empty() || user.starts_with('-') || user.chars().any(is_no_name)) {
            return Err("a user's name has letters, digits and -_.@+\\ only");
        }
        let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((literal, "")) => (literal, None),
            Some((literal, port)) => (literal, Some(port.strip_prefix(':').ok_or("after ] comes :PORT")?)),
            None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
        };
        let is_literal = place.starts_with('[');
        if !is_host(host, is_literal) {
            return Err("a host's name has letters, digits, dashes, dots and underscores");
        }
        let port = port.map(|port| port.parse().ok().filter(|port| *port > 0).ok_or("a port is a number up to 65535"));
        Ok(Self { user: user.map(Into::into), host: host.into(), port: port.transpose()?, socket, program: None })
    }

    /// The same, with the program hostd at this path over there.
    pub(super) fn running(self, program: String) -> Result<Self, &'static str> {
        if program.is_empty() || no_word(&program) || program.starts_with('~') {
            return Err("is a whole path, without ~, control characters and backslashes");
        }
        Ok(Self { program: Some(program), ..self })
    }

    /// What the user's shell over there runs.
    fn remote_command(&self) -> String {
        let program = self.program.as_deref().map_or("hostd".into(), quoted);
        let socket = self.socket.as_deref().map(|socket| format!(" --to {}", quoted(&format!("unix:{socket}"))));
        format!("{program} dial{}", socket.unwrap_or_default())
    }

    fn command(&self) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.args(OPTIONS);
        if let Some(user) = &self.user {
            ssh.args(["-l", user]);
        }
        if let Some(port) = self.port {
            ssh.args(["-p", &port.to_string()]);
        }
        ssh.arg("--").arg(&self.host).arg(self.remote_command());
        ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        // A Ctrl-C is for the command, which may have something to say to the host then.
        ssh.process_group(0);
        ssh
    }

    /// A connection to hostd over there.
    pub(super) async fn connect(&self) -> io::Result<ChildStream> {
        let child = self.command().spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => failed("there is no program `ssh` here", "install OpenSSH's client"),
            _ => error,
        })?;
        let mut ssh = Leader(child);
        let (Some(to), Some(from), Some(said)) = (ssh.0.stdin.take(), ssh.0.stdout.take(), ssh.0.stderr.take()) else {
            return Err(io::Error::from(io::ErrorKind::BrokenPipe));
        };
        let complaints = Complaints::read(said);
        let mut from = BufReader::new(from);
        match timeout(LOGIN, greets(&mut from)).await {
            Ok(Ok(true)) => Ok(ChildStream::new(ssh, from, to)),
            Ok(Ok(false)) => Err(self.hung_up(ssh, complaints).await),
            Ok(Err(error)) => Err(error),
            Err(_) => {
                let words = complaints.words();
                let message = format!("ssh did not reach hostd within {} s", LOGIN.as_secs());
                let message = if words.is_empty() { message } else { format!("{message}: {words}") };
                Err(failed(&message, &format!("does `ssh {}` log in without a question?", self.destination())))
            }
        }
    }

    /// What an ssh says that ended before anything was there.
    async fn hung_up(&self, mut ssh: Leader, complaints: Complaints) -> io::Error {
        let code = timeout(LAST_WORDS, ssh.0.wait()).await.ok().and_then(Result::ok).and_then(|status| status.code());
        let said = complaints.last_words().await;
        let destination = self.destination();
        match code {
            // ssh itself.
            Some(255) if !said.is_empty() => {
                failed(&said, &format!("does `ssh {destination}` log in without a question?"))
            }
            // The shell over there.
            Some(126 | 127) => {
                let program = self.program.as_deref().unwrap_or("hostd");
                failed(
                    &format!("there is no program `{program}` there"),
                    "install hostd there, or say where it is, where it is not in the PATH of commands over ssh: \
                     `pilothouse host add NAME ADDRESS --hostd PATH`, or the key `hostd` of the host in config.toml",
                )
            }
            // That of a program's arguments.
            Some(2) => failed(&format!("hostd there does not take `dial`: {said}"), "install a newer hostd there"),
            _ => {
                let said = if said.is_empty() { "ssh reached no hostd, and did not say why".into() } else { said };
                failed(&said, &format!("try `ssh {destination} {} </dev/null`", self.remote_command()))
            }
        }
    }

    /// The host as ssh's own command line takes it.
    fn destination(&self) -> String {
        let user = self.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        let port = self.port.map(|port| format!("-p {port} ")).unwrap_or_default();
        format!("{port}{user}{}", self.host)
    }
}

impl fmt::Display for Ssh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ssh://")?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?
        } else {
            f.write_str(&self.host)?
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(self.socket.as_deref().unwrap_or_default())
    }
}

/// What ssh says on its stderr: all of it is read, and the end of it kept.
struct Complaints {
    kept: Arc<Mutex<Vec<u8>>>,
    task: JoinHandle<()>,
}

impl Complaints {
    fn read(mut from: ChildStderr) -> Self {
        let kept = Arc::<Mutex<Vec<u8>>>::default();
        let keeps = kept.clone();
        let task = tokio::spawn(async move {
            let mut piece = [0; 1024];
            while let Ok(read @ 1..) = from.read(&mut piece).await {
                let mut kept = keeps.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend_from_slice(piece.get(..read).unwrap_or_default());
                let surplus = kept.len().saturating_sub(COMPLAINTS_MAX);
                kept.drain(..surplus);
            }
        });
        Self { kept, task }
    }

    /// Its last lines that say something, of an ssh that has ended. What it has started may hold its stderr for longer.
    async fn last_words(mut self) -> String {
        let _ = timeout(LAST_WORDS, &mut self.task).await;
        self.words()
    }

    fn words(&self) -> String {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let kept = String::from_utf8_lossy(&kept).into_owned();
        let lines = kept.lines().map(crate::foreign::plain).map(|line| line.trim().to_owned());
        let said: Vec<_> = lines.filter(|line| line.chars().any(char::is_alphanumeric)).collect();
        said.get(said.len().saturating_sub(LINES)..).unwrap_or_default().join("; ")
    }
}

fn failed(message: &str, hint: &str) -> io::Error {
    io::Error::other(SshError { message: message.to_owned(), hint: hint.to_owned() })
}

/// Reads up to the greeting, past what a shell prints before it. False: the other end hung up, or goes on with something else.
async fn greets<R: AsyncRead + Unpin>(from: &mut BufReader<R>) -> io::Result<bool> {
    let mut line = Vec::new();
    let mut noise = 0;
    while noise < NOISE_MAX {
        line.clear();
        let read = (&mut *from).take(NOISE_MAX - noise).read_until(b'\n', &mut line).await?;
        if read == 0 {
            return Ok(false);
        }
        if line.trim_ascii_end() == GREETING {
            return Ok(true);
        }
        noise += read as u64;
    }
    Ok(false)
}

fn is_host(host: &str, is_literal: bool) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c) || is_literal && ":%".contains(c);
    !host.is_empty() && !host.starts_with('-') && host.chars().all(fits)
}

fn is_no_name(c: char) -> bool {
    !c.is_ascii_alphanumeric() && !"-_.@+\\".contains(c)
}

/// Whether shells would not take a word alike, quoted or not.
fn no_word(text: &str) -> bool {
    text.chars().any(|c| c.is_control() || c == '\\')
}

/// A word as a shell takes it back.
pub(crate) fn quoted(word: &str) -> String {
    if word.chars().all(|c| c.is_ascii_alphanumeric() || "/-_.:,+@%".contains(c)) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn parse(text: &str) -> Result<Ssh, &'static str> {
        Ssh::parse(text.strip_prefix("ssh:").unwrap())
    }

    fn arguments(ssh: &Ssh) -> Vec<String> {
        let command = ssh.command();
        let all = command.as_std().get_args().map(|argument| argument.to_str().unwrap().to_owned());
        let mut all: Vec<String> = all.collect();
        let rest = all.split_off(OPTIONS.len());
        assert_eq!(all, OPTIONS);
        rest
    }

    #[rstest]
    #[case("ssh://far", &["--", "far", "hostd dial"])]
    #[case("ssh://far/", &["--", "far", "hostd dial"])]
    #[case("ssh://me@far:2222", &["-l", "me", "-p", "2222", "--", "far", "hostd dial"])]
    #[case("ssh://me@corp@far", &["-l", "me@corp", "--", "far", "hostd dial"])]
    #[case("ssh://far/run/a b/it's.sock", &["--", "far", r"hostd dial --to 'unix:/run/a b/it'\''s.sock'"])]
    #[case("ssh://[fe80::1%eth0]:22/run/h.sock", &["-p", "22", "--", "fe80::1%eth0", "hostd dial --to unix:/run/h.sock"])]
    fn an_address_is_what_ssh_is_told(#[case] text: &str, #[case] expected: &[&str]) {
        assert_eq!(arguments(&parse(text).unwrap()), expected);
    }

    #[test]
    fn the_program_over_there_may_be_elsewhere() {
        let ssh = parse("ssh://far").unwrap().running("/opt/my tools/hostd".into()).unwrap();
        assert_eq!(arguments(&ssh), ["--", "far", "'/opt/my tools/hostd' dial"]);
    }

    #[rstest]
    #[case("ssh:far")]
    #[case("ssh://")]
    #[case("ssh://-oProxyCommand=true")]
    #[case("ssh://-l@far")]
    #[case("ssh://@far")]
    #[case("ssh://a b")]
    #[case("ssh://far:0")]
    #[case("ssh://far:65536")]
    #[case("ssh://far:port")]
    #[case("ssh://[::1]22")]
    #[case("ssh://::1")]
    #[case("ssh://far/a\nb")]
    #[case(r"ssh://far/a\b")]
    #[case("ssh://me:secret@far")]
    fn what_is_no_address_is_refused(#[case] text: &str) {
        assert!(parse(text).is_err(), "{text}");
    }

    #[rstest]
    #[case(b"pilothouse-dial 1\nrest", true)]
    #[case(b"Welcome!\r\nMotd\npilothouse-dial 1\nrest", true)]
    #[case(b"Welcome!\n", false)]
    #[case(b"", false)]
    #[case(b"xpilothouse-dial 1\n", false)]
    #[tokio::test]
    async fn the_greeting_is_found_behind_what_a_shell_prints(#[case] bytes: &[u8], #[case] found: bool) {
        let mut from = BufReader::new(bytes);
        assert_eq!(greets(&mut from).await.unwrap(), found);
        if found {
            assert_eq!(from.buffer(), b"rest");
        }
    }

    #[tokio::test]
    async fn endless_noise_ends() {
        let mut from = BufReader::new(tokio::io::repeat(b'x'));
        assert!(!greets(&mut from).await.unwrap());
    }
}
