//! A connection to hostd's socket on stdin and stdout: what a console elsewhere runs by ssh.

use std::{
    fs::File,
    io::{self, Read, Write},
    net::Shutdown,
    os::{
        fd::{AsFd, AsRawFd as _},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    thread,
};

use rustix::fs::{Mode, OFlags};

/// First line on stdout, once hostd is there. A console skips what a login shell prints before it.
const GREETING: &[u8] = b"pilothouse-dial 1\n";

/// Most bytes that are passed on at a time.
const PIECE: usize = 64 << 10;

/// Why nothing came of it.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Nobody listens on the socket at this path.
    #[error(
        "no hostd answers on {path}: {error}; start it there with `hostd serve`, or say where it listens: ssh://HOST/PATH, \
         or --to unix:PATH of `hostd dial`"
    )]
    NoHostd {
        /// Path of the socket.
        path: PathBuf,
        /// Error of the system.
        error: io::Error,
    },
    /// The socket is another user's.
    #[error("{0} belongs to another user; log in as the one who runs hostd")]
    Denied(PathBuf),
    /// Stdin, stdout or the connection broke.
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
}

/// Passes bytes between stdin, stdout and the hostd at this socket until either side hangs up.
///
/// # Errors
/// [`DialError`].
pub fn run(socket: &Path) -> Result<(), DialError> {
    let mut hostd = connect(socket).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => DialError::Denied(socket.to_owned()),
        _ => DialError::NoHostd { path: socket.to_owned(), error },
    })?;
    // Files of these descriptors: Rust's own stdout holds lines back.
    let mut stdin = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    stdout.write_all(GREETING)?;
    let mut to = hostd.try_clone()?;
    // It is not waited for: whoever has hung up may leave stdin open.
    let _sender = thread::spawn(move || {
        // However it ends, nobody is there any more whom hostd could tell something.
        let _ = pass(&mut stdin, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
    pass(&mut hostd, &mut stdout)?;
    Ok(())
}

/// Connects to a socket, through its open folder: hostd listens on paths of any length, and an address has 107 bytes.
fn connect(socket: &Path) -> io::Result<UnixStream> {
    let (Some(folder), Some(name)) = (socket.parent(), socket.file_name()) else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let folder = rustix::fs::open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    UnixStream::connect(Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name))
}

/// Passes all bytes on. `io::copy` would have the kernel splice them into the pipe, which keeps that pipe locked while it waits for
/// more: sshd, which reads from it, stands still then, and nothing comes from the console any more.
fn pass(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        match from.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(read) => to.write_all(piece.get(..read).unwrap_or_default())?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
