//! A connection to hostd's socket on stdin and stdout: what a console elsewhere runs by ssh.

use std::{
    fs::File,
    io::{self, Read, Write},
    net::Shutdown,
    os::{fd::AsFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    thread,
};

/// First line on stdout, once hostd is there. A console skips what a login shell prints before it.
const GREETING: &[u8] = b"pilothouse-dial 1\n";

/// Most bytes that are passed on at a time.
const PIECE: usize = 64 << 10;

/// Why nothing came of it.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Nobody listens on the socket at this path.
    #[error(
        "no hostd answers on {path}: {error}; start it there with `hostd serve`, or say where it listens with --to unix:PATH"
    )]
    NoHostd {
        /// Path of the socket.
        path: PathBuf,
        /// Error of the system.
        error: io::Error,
    },
    /// Stdin, stdout or the connection broke.
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
}

/// Passes bytes between stdin, stdout and the hostd at this socket until either side hangs up.
///
/// # Errors
/// [`DialError`].
pub fn run(socket: &Path) -> Result<(), DialError> {
    let near = |error| DialError::NoHostd { path: socket.to_owned(), error };
    let mut hostd = UnixStream::connect(socket).map_err(near)?;
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
