//! Entries of a tar archive, read one after the other. Whoever wrote it is not trusted: names are bounded, and checked before
//! they are anybody's; a length is believed only as far as there are bytes.
//!
//! POSIX's form, GNU's and their extended headers are read. The crate `tar` is not used because it keeps a name of any length
//! in memory, and either hides extended headers or does not heed their sizes.

mod extended;

use std::io::Read;

use crate::{
    field::{HEADER, PATH_MAX, name_of, number, path, shown, small, target, time, until_nul},
    pax,
    read::read_full,
    sparse::{self, Piece},
};
use extended::Extended;

/// Longest extended header about all that follows, in bytes.
const GLOBAL_MAX: u64 = 4096;
/// Longest file, in bytes: ext4 numbers a file's blocks in 32 bits.
const FILE_MAX: u64 = (16 << 40) - crate::BLOCK;

/// What an entry makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Folder,
    /// A symbolic link to this text.
    Symlink(Vec<u8>),
    /// Another name of the file at this path.
    HardLink(Vec<Vec<u8>>),
    CharDevice(u32, u32),
    BlockDevice(u32, u32),
    Fifo,
}

/// What a file has beside its contents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meta {
    /// Permissions, with those for set-user-id, set-group-id and the sticky bit.
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Seconds since the Unix epoch, and nanoseconds.
    pub(crate) modified: (i64, u32),
    /// Extended attributes, by name.
    pub(crate) attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

/// An entry of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Names on the way to it; none: it is the root.
    pub(crate) path: Vec<Vec<u8>>,
    pub(crate) kind: Kind,
    pub(crate) meta: Meta,
    /// Bytes of the file.
    pub(crate) size: u64,
    /// Pieces of the file's data, where it has holes; None: all of it is there.
    pub(crate) pieces: Option<Vec<Piece>>,
}

/// Reads an archive. What an entry has of contents is skipped where nobody reads it.
pub(crate) struct Archive<R> {
    reader: R,
    /// Bytes of the last entry's contents that were not read yet.
    left: u64,
    /// Bytes behind them, up to the next header.
    padding: u64,
    /// What extended headers say of all that follows.
    global: Extended,
}

/// Why there is no next entry: what the archive says, or that it could not be read.
#[derive(Debug)]
pub(crate) enum Bad {
    Said(String),
    Read(std::io::Error),
}

impl From<String> for Bad {
    fn from(why: String) -> Self {
        Self::Said(why)
    }
}

impl From<&str> for Bad {
    fn from(why: &str) -> Self {
        Self::Said(why.into())
    }
}

impl From<std::io::Error> for Bad {
    fn from(error: std::io::Error) -> Self {
        Self::Read(error)
    }
}

impl<R: Read> Archive<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self { reader, left: 0, padding: 0, global: Extended::default() }
    }

    /// The next entry; None: there is no more.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, Bad> {
        let mut extended = Extended::default();
        // Headers about headers: a name and a link in GNU's way, and one in POSIX's.
        for _ in 0..8 {
            self.skip()?;
            let Some(header) = self.header()? else { return Ok(None) };
            let size = number(&header[124..136])?;
            match header[156] {
                b'x' | b'X' => extended.take(&self.text(size, pax::LENGTH_MAX)?)?,
                b'g' => {
                    let text = self.text(size, GLOBAL_MAX)?;
                    self.global.take_of_all(&text)?;
                }
                b'L' => extended.path = Some(until_nul(&self.text(size, PATH_MAX as u64 + 1)?).into()),
                b'K' => extended.link = Some(until_nul(&self.text(size, PATH_MAX as u64 + 1)?).into()),
                // A label of the volume.
                b'V' => self.data(size)?,
                _ => {
                    let extended = extended.over(&self.global);
                    return self.entry(&header, size, extended).map(Some);
                }
            }
        }
        Err("there are more headers than entries".into())
    }

    /// Reads contents of the last entry; 0: there is no more of it.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Bad> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let length = read_full(&mut self.reader, &mut buffer[..most])?;
        if length < most {
            return Err("it ends in the middle of a file".into());
        }
        self.left -= length as u64;
        Ok(length)
    }

    fn data(&mut self, size: u64) -> Result<(), Bad> {
        check_size(size)?;
        self.left = size;
        self.padding = size.next_multiple_of(HEADER as u64) - size;
        Ok(())
    }

    fn skip(&mut self) -> Result<(), Bad> {
        let mut scratch = [0; 16 << 10];
        while self.left > 0 {
            self.read(&mut scratch)?;
        }
        let padding = usize::try_from(std::mem::take(&mut self.padding)).unwrap_or(0);
        // Some leave the very last padding out.
        read_full(&mut self.reader, &mut scratch[..padding])?;
        Ok(())
    }

    /// The next header, with the right sum; None: the archive ends here.
    fn header(&mut self) -> Result<Option<[u8; HEADER]>, Bad> {
        let mut header = [0; HEADER];
        match read_full(&mut self.reader, &mut header)? {
            0 => return Ok(None),
            HEADER => {}
            _ => return Err("it ends in the middle of a header".into()),
        }
        if header == [0; HEADER] {
            return Ok(None);
        }
        let sum = |signed: bool| -> i64 {
            let value = |byte: u8| if signed { i64::from(byte.cast_signed()) } else { i64::from(byte) };
            header.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { 32 } else { value(*byte) }).sum()
        };
        let said = i64::try_from(number(&header[148..156])?).unwrap_or(-1);
        if said != sum(false) && said != sum(true) {
            return Err("a header's sum is wrong: it is no tar archive, or is damaged".into());
        }
        Ok(Some(header))
    }

    /// The contents of a header's header.
    fn text(&mut self, size: u64, most: u64) -> Result<Vec<u8>, Bad> {
        if size > most {
            return Err(format!("an extended header has {size} bytes; at most {most} are read").into());
        }
        self.data(size)?;
        let mut text = vec![0; usize::try_from(size).unwrap_or(0)];
        let length = self.read(&mut text)?;
        text.truncate(length);
        Ok(text)
    }

    fn entry(&mut self, header: &[u8; HEADER], size: u64, extended: Extended) -> Result<Entry, Bad> {
        let raw = extended.sparse.name.clone().or(extended.path).unwrap_or_else(|| name_of(header));
        let (path, ends_in_slash) = (path(&raw)?, raw.ends_with(b"/"));
        let link = || extended.link.clone().unwrap_or_else(|| until_nul(&header[157..257]).into());
        let device = || -> Result<(u32, u32), String> { Ok((small(&header[329..337])?, small(&header[337..345])?)) };
        let size = extended.size.unwrap_or(size);
        let kind = match header[156] {
            b'0' | 0 | b'7' if ends_in_slash => Kind::Folder,
            b'0' | 0 | b'7' | b'S' => Kind::File,
            b'1' => Kind::HardLink(self::path(&link())?),
            b'2' => Kind::Symlink(target(link())?),
            b'3' => device().map(|(major, minor)| Kind::CharDevice(major, minor))?,
            b'4' => device().map(|(major, minor)| Kind::BlockDevice(major, minor))?,
            b'5' | b'D' => Kind::Folder,
            b'6' => Kind::Fifo,
            other => return Err(format!("{} is of a kind that is not known, {other}", shown(&path)).into()),
        };
        let id = |own: Option<u64>, field: &[u8]| -> Result<u32, String> {
            let id = own.map_or_else(|| number(field), Ok)?;
            u32::try_from(id).map_err(|_| format!("{} belongs to a user or group beyond 32 bits", shown(&path)))
        };
        let meta = Meta {
            mode: u16::try_from(number(&header[100..108])? & 0o7777).unwrap_or(0),
            uid: id(extended.uid, &header[108..116])?,
            gid: id(extended.gid, &header[116..124])?,
            modified: extended.modified.unwrap_or_else(|| (time(&header[136..148]), 0)),
            attributes: extended.attributes,
        };
        // What links, folders and devices say of a size is about something else; GNU's folders alone have contents.
        let carries = matches!(kind, Kind::File) || header[156] == b'D';
        self.data(if carries { size } else { 0 })?;
        let mut entry = Entry { path, kind, meta, size, pieces: None };
        if entry.kind == Kind::File {
            self.holes(header, &mut entry, extended.sparse)?;
        } else {
            entry.size = 0;
        }
        Ok(entry)
    }

    /// Reads the map of a file with holes, as far as it stands before the data.
    fn holes(&mut self, header: &[u8; HEADER], entry: &mut Entry, said: sparse::Said) -> Result<(), Bad> {
        let mut map = said.map.unwrap_or_default();
        let real = if header[156] == b'S' {
            sparse::old(&mut map, &header[386..482])?;
            let mut more = header[482] != 0;
            while more {
                let mut block = [0; HEADER];
                if read_full(&mut self.reader, &mut block)? < HEADER {
                    return Err("it ends in the middle of a header".into());
                }
                sparse::old(&mut map, &block[..504])?;
                more = block[504] != 0;
            }
            number(&header[483..495])?
        } else if said.map_in_data {
            self.map_in_data(&mut map)?;
            said.real_size.unwrap_or(entry.size)
        } else if let (Some(real), false) = (said.real_size, map.is_empty()) {
            real
        } else {
            return Ok(());
        };
        check_size(real)?;
        entry.pieces = Some(sparse::checked(map, real, self.left)?);
        entry.size = real;
        Ok(())
    }

    /// A map in lines of one number, padded to whole blocks: first how many pieces there are.
    fn map_in_data(&mut self, map: &mut Vec<Piece>) -> Result<(), Bad> {
        let (mut block, mut at) = ([0; HEADER], HEADER);
        let mut next = |archive: &mut Self| -> Result<u64, Bad> {
            let mut digits = vec![];
            loop {
                if at == HEADER {
                    if archive.read(&mut block)? < HEADER {
                        return Err("the map of a file with holes is cut off".into());
                    }
                    at = 0;
                }
                let byte = block[at];
                at += 1;
                match byte {
                    b'\n' => return Ok(pax::decimal(&digits).ok_or("the map of a file with holes makes no sense")?),
                    _ if digits.len() < 20 => digits.push(byte),
                    _ => return Err("the map of a file with holes makes no sense".into()),
                }
            }
        };
        for _ in 0..next(self)? {
            let offset = next(self)?;
            sparse::push(map, (offset, next(self)?))?;
        }
        Ok(())
    }
}

fn check_size(size: u64) -> Result<(), String> {
    if size > FILE_MAX {
        return Err(format!("a file has {size} bytes; at most {FILE_MAX} are taken"));
    }
    Ok(())
}
