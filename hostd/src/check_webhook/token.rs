//! The token that reports are sent with, in a file.

use std::{
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// Bytes of randomness in a token that is made here.
const BYTES: usize = 32;
/// Shortest token that is taken, in bytes.
const MIN: usize = 16;

/// Path of the token's file unless another is named.
#[must_use]
pub fn default_token(data: &Path) -> PathBuf {
    data.join("checks.token")
}

/// The error with the name of what failed before it.
pub(super) fn told(error: &io::Error, what: impl std::fmt::Display) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// Reads the token from this file, without white space around it; makes one where there is no such file.
pub(super) fn read(path: &Path) -> io::Result<String> {
    let shown = path.display();
    match std::fs::read_to_string(path) {
        Ok(text) if text.trim().len() >= MIN => Ok(text.trim().to_owned()),
        Ok(_) => {
            let text = format!("{shown}: a token has at least {MIN} bytes; remove the file to have one made");
            Err(io::Error::new(io::ErrorKind::InvalidData, text))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut bytes = [0; BYTES];
            getrandom::fill(&mut bytes).map_err(io::Error::other)?;
            let token = URL_SAFE_NO_PAD.encode(bytes);
            let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(path)?;
            io::Write::write_all(&mut file, format!("{token}\n").as_bytes()).map_err(|error| told(&error, shown))?;
            Ok(token)
        }
        Err(error) => Err(told(&error, shown)),
    }
}
