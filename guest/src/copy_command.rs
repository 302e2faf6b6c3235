//! `session copy`: the end of `pilothouse cp` in the session's VM, run as the user whose files they are.

use std::{
    ffi::OsString,
    io::{self, BufReader, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use clap::Subcommand;
use pilothouse_copy::{Error, Options, Place, Tally, receive, send};

/// Exit code where something is at the place already.
pub(crate) const EXISTS: u8 = 3;
/// Bytes that are gathered before they are passed on.
const BUFFER: usize = 64 << 10;

#[derive(Debug, Subcommand)]
pub(crate) enum Copy {
    /// Writes a file or folder to stdout.
    Send { path: PathBuf },
    /// Puts the file or folder that stdin has at a path.
    Receive {
        path: PathBuf,
        /// Its name, where there is a folder at the path.
        #[arg(long, allow_hyphen_values = true)]
        name: OsString,
        /// Replace files that are there.
        #[arg(long)]
        replace: bool,
    },
}

/// Copies; on an error returns the exit code, and what is to be said.
pub(crate) fn run(copy: Copy) -> Result<(), (u8, String)> {
    let tally = Tally::default();
    let done = match copy {
        Copy::Send { path } => {
            send(&at_home(path), &mut BufWriter::with_capacity(BUFFER, io::stdout()), &tally, &mut tell)
        }
        Copy::Receive { path, name, replace } => Place::of(&at_home(path), &name).and_then(|place| {
            let options = Options { replace, bytes_max: u64::MAX };
            receive(&mut BufReader::with_capacity(BUFFER, io::stdin()), &place, options, &tally)
        }),
    };
    match done {
        Ok(_) => Ok(()),
        Err(error @ Error::Exists(_)) => Err((EXISTS, error.to_string())),
        Err(error) => Err((1, error.to_string())),
    }
}

fn tell(path: &Path, what: &str) {
    let _ = writeln!(io::stderr(), "{}: {what}", path.display());
}

/// `~` is not a shell's here.
fn at_home(path: PathBuf) -> PathBuf {
    match (path.strip_prefix("~"), std::env::var_os("HOME")) {
        (Ok(rest), Some(home)) => Path::new(&home).join(rest),
        _ => path,
    }
}
