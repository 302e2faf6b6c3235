//! The frames of a copy, and how they are written and read.
//!
//! A frame is a message of Protocol Buffers (proto3) behind its length, a varint of its own, as `writeDelimitedTo` of that library
//! writes it.

use std::io::{self, Read, Write};

use prost::Message as _;

use crate::error::Error;

/// Most folders within each other.
pub const DEPTH_MAX: usize = 256;
/// Most bytes of a file in one frame.
pub const DATA_MAX: usize = 64 << 10;
/// Most bytes of a frame: its data, or two names and a few numbers.
const FRAME_MAX: usize = DATA_MAX + (1 << 10);
/// Most bytes of a name, as Linux has it.
const NAME_MAX: usize = 255;
/// Most bytes that a symbolic link points to, as Linux has it.
const TARGET_MAX: usize = 4095;

/// One part of a copy.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Frame {
    /// What the part is; a frame without is malformed.
    #[prost(oneof = "Part", tags = "1, 2, 3, 4, 5, 6, 7")]
    pub part: Option<Part>,
}

/// What a frame says.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Part {
    /// A folder begins: what follows is in it, up to its `Leave`.
    #[prost(message, tag = "1")]
    Enter(Entry),
    /// The newest folder that was entered ends.
    #[prost(message, tag = "2")]
    Leave(Leave),
    /// A file begins; its bytes follow.
    #[prost(message, tag = "3")]
    File(Entry),
    /// Bytes of the file, at most [`DATA_MAX`]; none: the file is whole.
    #[prost(bytes = "vec", tag = "4")]
    Data(Vec<u8>),
    /// A symbolic link.
    #[prost(message, tag = "5")]
    Symlink(Symlink),
    /// Another name of a file that was sent before.
    #[prost(message, tag = "6")]
    Hardlink(Hardlink),
    /// The copy is whole; nothing follows.
    #[prost(message, tag = "7")]
    End(End),
}

/// A file or folder.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Entry {
    /// Name in the folder that it is in. That of the first frame says nothing: the receiver chooses it.
    #[prost(bytes = "vec", tag = "1")]
    pub name: Vec<u8>,
    /// Permissions, of which the lower nine bits count.
    #[prost(uint32, tag = "2")]
    pub mode: u32,
    /// Time of the last modification in seconds since 1970.
    #[prost(int64, tag = "3")]
    pub seconds: i64,
    /// Nanoseconds of that time, less than 10^9.
    #[prost(uint32, tag = "4")]
    pub nanoseconds: u32,
}

/// The end of a folder.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Leave {}

/// A symbolic link.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Symlink {
    /// Name in the folder that it is in.
    #[prost(bytes = "vec", tag = "1")]
    pub name: Vec<u8>,
    /// What it points to, as it stands.
    #[prost(bytes = "vec", tag = "2")]
    pub target: Vec<u8>,
}

/// Another name of a file.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Hardlink {
    /// Name in the folder that it is in.
    #[prost(bytes = "vec", tag = "1")]
    pub name: Vec<u8>,
    /// Names that lead to the file from the first folder of the copy on.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub to: Vec<Vec<u8>>,
}

/// The end of a copy.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct End {
    /// Number of files and folders that the sender could not read and has left out.
    #[prost(uint64, tag = "1")]
    pub unread: u64,
}

/// Writes a frame.
///
/// # Errors
/// [`Error::Cut`] where it cannot be written.
pub fn write(to: &mut impl Write, part: Part) -> Result<(), Error> {
    to.write_all(&Frame { part: Some(part) }.encode_length_delimited_to_vec()).map_err(Error::Cut)
}

/// Reads a frame whose names are names: neither empty nor `.` or `..`, and without a slash.
///
/// # Errors
/// [`Error::Cut`] where the stream ends or breaks, [`Error::Malformed`] where no sender writes this.
pub fn read(from: &mut impl Read) -> Result<Part, Error> {
    let length = length(from)?;
    let mut frame = Vec::with_capacity(length);
    let read = from.take(length as u64).read_to_end(&mut frame).map_err(Error::Cut)?;
    if read < length {
        return Err(Error::Cut(io::ErrorKind::UnexpectedEof.into()));
    }
    let frame = Frame::decode(&*frame).map_err(|_| Error::Malformed("a frame that is none"))?;
    let part = frame.part.ok_or(Error::Malformed("a frame of an unknown kind"))?;
    check(&part)?;
    Ok(part)
}

fn length(from: &mut impl Read) -> Result<usize, Error> {
    let (mut length, mut byte) = (0, [0]);
    for shift in [0, 7, 14] {
        from.read_exact(&mut byte).map_err(Error::Cut)?;
        length |= usize::from(byte[0] & 0x7f) << shift;
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    if byte[0] & 0x80 == 0 && length <= FRAME_MAX { Ok(length) } else { Err(Error::Malformed("a frame too long")) }
}

fn check(part: &Part) -> Result<(), Error> {
    let is_fine = match part {
        // The receiver names the first of a copy.
        Part::Enter(entry) | Part::File(entry) => {
            (entry.name.is_empty() || is_name(&entry.name)) && entry.nanoseconds < 1_000_000_000
        }
        Part::Data(bytes) => bytes.len() <= DATA_MAX,
        Part::Symlink(link) => {
            is_name(&link.name) && (1..=TARGET_MAX).contains(&link.target.len()) && !link.target.contains(&0)
        }
        Part::Hardlink(link) => is_name(&link.name) && link.to.iter().all(|name| is_name(name)),
        Part::Leave(_) | Part::End(_) => true,
    };
    if is_fine { Ok(()) } else { Err(Error::Malformed("a name, a link or a time that is none")) }
}

fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && name.len() <= NAME_MAX && !name.iter().any(|byte| matches!(byte, b'/' | 0))
}
