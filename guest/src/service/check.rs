//! Bounds of what the host may ask.

use std::collections::HashMap;

use pilothouse_proto::{guest::v1::Size, link::CHUNK};
use tonic::Status;

use crate::process::Window;

pub(super) fn command(command: &[String]) -> Result<(), Status> {
    match command {
        [] => Err(Status::invalid_argument("no command given")),
        [program, ..] if program.is_empty() => Err(Status::invalid_argument("the command's name is empty")),
        words if words.iter().any(|word| word.contains('\0')) => {
            Err(Status::invalid_argument("a command cannot hold zero bytes"))
        }
        _ => Ok(()),
    }
}

pub(super) fn environment(environment: &HashMap<String, String>) -> Result<(), Status> {
    let bad =
        |(name, value): &(&String, &String)| name.is_empty() || name.contains(['=', '\0']) || value.contains('\0');
    match environment.iter().find(bad) {
        None => Ok(()),
        Some((name, _)) => Err(Status::invalid_argument(format!("{name:?} cannot be set in an environment"))),
    }
}

pub(super) fn window(columns: u32, rows: u32) -> Result<Window, Status> {
    let error = || Status::invalid_argument(format!("a terminal has 1 to {} columns and rows", Window::MAX));
    Window::new(columns, rows).ok_or_else(error)
}

pub(super) fn size(size: &Size) -> Result<Window, Status> {
    window(size.columns, size.rows)
}

pub(super) fn chunk(bytes: &[u8]) -> Result<(), Status> {
    if bytes.len() <= CHUNK {
        Ok(())
    } else {
        Err(Status::invalid_argument(format!("at most {CHUNK} bytes at a time")))
    }
}
