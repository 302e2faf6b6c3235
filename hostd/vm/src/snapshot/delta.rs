//! The delta of a clone's memory: the pages it has changed since it was cloned, and nothing else.
//!
//! A clone maps its template's RAM file `MAP_PRIVATE`, so a page that it has written is an anonymous copy in its process.
//! `/proc/PID/pagemap` tells them apart: one little-endian `u64` for each page, bit 63 present, bit 62 swapped, bit 61
//! file-mapped or shared (Documentation/admin-guide/mm/pagemap.rst in Linux). Their bytes are read and written through
//! `/proc/PID/mem`.
//!
//! The file is 8 bytes `PLTHDLT2`, and then zstd frames, each behind its length in bytes as a little-endian `u32`. The first
//! holds the index: little-endian `u32` page size, `u32` number of runs, `u64` bytes of RAM; for each run `u64` first page
//! and `u64` count, ascending and apart. The others hold the pages of all runs, 64 to a frame and the rest in the last, so
//! that all processors work on them at once.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use zstd::{bulk, zstd_safe::compress_bound};

use super::{SnapshotError, parallel::in_order};

/// Bytes of a page on every machine that hostd runs on (x86-64).
pub const PAGE: u64 = 4096;
const MAGIC: &[u8; 8] = b"PLTHDLT2";
/// Most pages of a frame.
const FRAME: u64 = 64;
const FRAME_BYTES: usize = (FRAME * PAGE) as usize;
/// Entries of the page map that are read at a time.
const ENTRIES: u64 = 4096;
/// Bytes of the index before its runs; [`RUN`] is that of each run.
const HEAD: usize = 16;
const RUN: usize = 16;
/// Bytes of a frame's length.
const LENGTH: u64 = 4;
/// Level of compression: a suspend is waited for, and higher levels gain little on memory pages.
const LEVEL: i32 = 1;

/// Pages that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Number of the first page, from the start of RAM.
    pub first: u64,
    /// Number of pages; at least 1.
    pub count: u64,
}

/// Result of writing a delta.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Number of pages in the delta.
    pub pages: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// blake3 of the file, in hex.
    pub hash: String,
}

/// The RAM of a VM, as its process has it mapped.
#[derive(Debug)]
pub struct Ram {
    memory: File,
    pagemap: File,
    process: PathBuf,
    base: u64,
    bytes: u64,
}

impl Ram {
    /// Opens the memory of process `pid`, where `bytes` of RAM are mapped at address `base`.
    ///
    /// # Errors
    /// Where the process is gone or may not be read.
    pub fn open(pid: u32, base: u64, bytes: u64) -> Result<Self, SnapshotError> {
        let process = PathBuf::from(format!("/proc/{pid}"));
        let open = |name: &str, write: bool| {
            let path = process.join(name);
            File::options().read(true).write(write).open(&path).map_err(|error| SnapshotError::Io { path, error })
        };
        let (memory, pagemap) = (open("mem", true)?, open("pagemap", false)?);
        Ok(Self { memory, pagemap, process, base, bytes })
    }

    /// Finds the pages that the process has written since it mapped its template.
    ///
    /// # Errors
    /// Where the page map cannot be read.
    pub fn written(&self) -> Result<Vec<Run>, SnapshotError> {
        let mut runs = Vec::new();
        let mut buffer = vec![0; (ENTRIES * 8) as usize];
        let pages = self.bytes / PAGE;
        let mut page = 0;
        while page < pages {
            let count = (pages - page).min(buffer.len() as u64 / 8);
            let part = &mut buffer[..(count * 8) as usize];
            self.pagemap
                .read_exact_at(part, (self.base / PAGE + page) * 8)
                .map_err(|error| self.failed("pagemap", error))?;
            collect(&mut runs, page, part);
            page += count;
        }
        Ok(runs)
    }

    /// Writes the delta to a new file. Pages that are the same in the `template` are left out.
    ///
    /// # Errors
    /// Where the file cannot be written (a full disk) or the memory cannot be read; the partial file is removed.
    pub fn save(&self, path: &Path, template: Option<&Path>) -> Result<Saved, SnapshotError> {
        let written = self.written()?;
        let runs = match template {
            Some(template) => self.changed(&written, template)?,
            None => written,
        };
        self.write_file(path, &runs).inspect_err(|_| drop(std::fs::remove_file(path)))
    }

    fn write_file(&self, path: &Path, runs: &[Run]) -> Result<Saved, SnapshotError> {
        let io = |error| SnapshotError::Io { path: path.into(), error };
        // A guest's memory holds its secrets.
        let file = File::options().write(true).create_new(true).mode(0o600).open(path).map_err(io)?;
        let mut out = Hashing { inner: file, hash: blake3::Hasher::new(), bytes: 0 };
        out.write_all(MAGIC).map_err(io)?;
        let index = bulk::compress(&index(self.bytes, runs), LEVEL).map_err(io)?;
        write_frame(&mut out, &index).map_err(io)?;
        let frames = frames(runs);
        // Making either anew for each frame would take longer than packing it.
        let own = || (bulk::Compressor::new(LEVEL), vec![0; FRAME_BYTES]);
        let read = |(packer, buffer): &mut (io::Result<bulk::Compressor<'_>>, Vec<u8>), number: usize| {
            let frame: &[Run] = &frames[number];
            let pages = &mut buffer[..bytes_of(frame)];
            self.each(frame, pages, |part, address| self.memory.read_exact_at(part, address))
                .map_err(|error| self.failed("mem", error))?;
            packer.as_mut().map_err(|error| io(error.kind().into()))?.compress(pages).map_err(io)
        };
        in_order(frames.len(), own, read, |frame| write_frame(&mut out, &frame?).map_err(io))?;
        let pages = runs.iter().map(|r| r.count).sum();
        Ok(Saved { pages, file_bytes: out.bytes, hash: out.hash.finalize().to_hex().to_string() })
    }

    /// Writes the pages of a delta file into the process; returns which they are. The file's hash must have been checked with
    /// [`verify`].
    ///
    /// # Errors
    /// Where the file does not fit this RAM, or the memory cannot be written; the process is then good for nothing.
    pub fn load(&self, path: &Path) -> Result<Vec<Run>, SnapshotError> {
        let io = |error| SnapshotError::Io { path: path.into(), error };
        let damaged = |what: &str| SnapshotError::Damaged { path: path.into(), what: what.into() };
        let file = File::open(path).map_err(io)?;
        let mut magic = [0; MAGIC.len()];
        if file.read_exact_at(&mut magic, 0).is_err() || magic != *MAGIC {
            return Err(damaged("it is no memory delta of this version"));
        }
        let most = HEAD + RUN * usize::try_from(self.bytes / PAGE).unwrap_or(0);
        let (index, mut at) =
            read_frame(&file, magic.len() as u64, most).ok_or_else(|| damaged("its index is not whole"))?;
        let runs = read_index(&index, self.bytes).map_err(|what| damaged(&what))?;
        let frames = frames(&runs);
        let mut places = Vec::with_capacity(frames.len());
        for frame in &frames {
            let length = frame_length(&file, at, bytes_of(frame));
            let length = length.ok_or_else(|| damaged("it ends before its last page"))?;
            places.push((at + LENGTH, length));
            at += LENGTH + length as u64;
        }
        if file.metadata().map_err(io)?.len() != at {
            return Err(damaged("it has not the length of its pages"));
        }
        let own = || (bulk::Decompressor::new(), vec![0; compress_bound(FRAME_BYTES)], vec![0; FRAME_BYTES]);
        let write = |(unpacker, packed, pages): &mut (io::Result<bulk::Decompressor<'_>>, Vec<u8>, Vec<u8>),
                     number: usize| {
            let (at, length): (u64, usize) = places[number];
            let (frame, packed) = (&frames[number][..], &mut packed[..length]);
            let pages = &mut pages[..bytes_of(frame)];
            file.read_exact_at(packed, at).map_err(io)?;
            let unpacker = unpacker.as_mut().map_err(|error| io(error.kind().into()))?;
            let unpacked = unpacker.decompress_to_buffer(packed, pages);
            if unpacked.ok() != Some(pages.len()) {
                return Err(damaged("not all of its pages can be unpacked"));
            }
            self.each(frame, pages, |part, address| self.memory.write_all_at(part, address))
                .map_err(|error| self.failed("mem", error))
        };
        in_order(frames.len(), own, write, |written| written)?;
        Ok(runs)
    }

    /// Leaves out of these pages those that are the same in the template. Under KVM a guest that reads what is not in the page
    /// cache gets a copy of its own, which counts as written.
    fn changed(&self, runs: &[Run], template: &Path) -> Result<Vec<Run>, SnapshotError> {
        let io = |error| SnapshotError::Io { path: template.into(), error };
        let file = File::open(template).map_err(io)?;
        let frames = frames(runs);
        let own = || (vec![0; FRAME_BYTES], vec![0; FRAME_BYTES]);
        let compare = |(here, there): &mut (Vec<u8>, Vec<u8>), number: usize| {
            let frame: &[Run] = &frames[number];
            let (here, there) = (&mut here[..bytes_of(frame)], &mut there[..bytes_of(frame)]);
            self.each(frame, here, |part, address| self.memory.read_exact_at(part, address))
                .map_err(|error| self.failed("mem", error))?;
            self.each(frame, there, |part, address| file.read_exact_at(part, address - self.base)).map_err(io)?;
            let numbers = frame.iter().flat_map(|run| run.first..run.first + run.count);
            let pages = here.chunks(PAGE as usize).zip(there.chunks(PAGE as usize));
            let changed = numbers.zip(pages).filter(|(_, (here, there))| here != there).map(|(number, _)| number);
            Ok(changed.collect::<Vec<u64>>())
        };
        let mut changed = Vec::new();
        in_order(frames.len(), own, compare, |pages: Result<Vec<u64>, SnapshotError>| {
            pages?.into_iter().for_each(|page| push(&mut changed, page));
            Ok(())
        })?;
        Ok(changed)
    }

    /// Calls `act` with each run's part of these pages, and its address.
    fn each(&self, runs: &[Run], pages: &mut [u8], act: impl Fn(&mut [u8], u64) -> io::Result<()>) -> io::Result<()> {
        let mut rest = pages;
        for run in runs {
            let (part, after) = rest.split_at_mut((run.count * PAGE) as usize);
            act(part, self.base + run.first * PAGE)?;
            rest = after;
        }
        Ok(())
    }

    fn failed(&self, name: &str, error: io::Error) -> SnapshotError {
        SnapshotError::Io { path: self.process.join(name), error }
    }
}

/// The pages of `all` that are not in `part`. Both, and the result, are ascending and apart.
#[must_use]
pub fn without(all: &[Run], part: &[Run]) -> Vec<Run> {
    let mut rest = Vec::new();
    let mut parts = part.iter().peekable();
    for run in all {
        let (mut from, end) = (run.first, run.first + run.count);
        while let Some(part) = parts.peek().filter(|part| part.first < end) {
            let after = part.first + part.count;
            if part.first > from {
                rest.push(Run { first: from, count: part.first - from });
            }
            from = from.max(after.min(end));
            if after > end {
                break;
            }
            parts.next();
        }
        if from < end {
            rest.push(Run { first: from, count: end - from });
        }
    }
    rest
}

/// Checks that a file has this blake3 hash (hex).
///
/// # Errors
/// [`SnapshotError::Damaged`] with the file's name where it has another.
pub fn verify(path: &Path, hash: &str) -> Result<(), SnapshotError> {
    let io = |error| SnapshotError::Io { path: path.into(), error };
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path).map_err(io)?).map_err(io)?;
    if hasher.finalize().to_hex().as_str() == hash {
        return Ok(());
    }
    Err(SnapshotError::Damaged { path: path.into(), what: "its checksum is not the one it was written with".into() })
}

/// Adds a page behind those that are there.
fn push(runs: &mut Vec<Run>, number: u64) {
    match runs.last_mut() {
        Some(last) if last.first + last.count == number => last.count += 1,
        _ => runs.push(Run { first: number, count: 1 }),
    }
}

/// Adds to `runs` the written pages among `entries`, the first of which is that of `page`.
fn collect(runs: &mut Vec<Run>, page: u64, entries: &[u8]) {
    for (number, entry) in (page..).zip(entries.as_chunks::<8>().0) {
        let entry = u64::from_le_bytes(*entry);
        // Present or swapped, and not the file's.
        if entry >> 62 == 0 || entry >> 61 & 1 == 1 {
            continue;
        }
        push(runs, number);
    }
}

/// Splits the runs so that each part but the last has [`FRAME`] pages.
fn frames(runs: &[Run]) -> Vec<Vec<Run>> {
    let mut frames: Vec<Vec<Run>> = Vec::new();
    let mut room = 0;
    for run in runs {
        let mut rest = *run;
        while rest.count > 0 {
            if room == 0 {
                frames.push(Vec::new());
                room = FRAME;
            }
            let count = rest.count.min(room);
            if let Some(frame) = frames.last_mut() {
                frame.push(Run { first: rest.first, count });
            }
            room -= count;
            rest = Run { first: rest.first + count, count: rest.count - count };
        }
    }
    frames
}

fn bytes_of(frame: &[Run]) -> usize {
    frame.iter().map(|run| (run.count * PAGE) as usize).sum()
}

fn write_frame(out: &mut impl Write, frame: &[u8]) -> io::Result<()> {
    let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(frame)
}

/// Length in bytes of the frame at this offset; None: it holds more than `most` bytes could, or is not whole.
fn frame_length(file: &File, at: u64, most: usize) -> Option<usize> {
    let mut length = [0; LENGTH as usize];
    file.read_exact_at(&mut length, at).ok()?;
    usize::try_from(u32::from_le_bytes(length)).ok().filter(|&length| length <= compress_bound(most))
}

/// Reads the frame at this offset, of at most `most` bytes unpacked; returns its bytes, and where it ends. None: it is not
/// whole.
fn read_frame(file: &File, at: u64, most: usize) -> Option<(Vec<u8>, u64)> {
    let mut frame = vec![0; frame_length(file, at, most)?];
    file.read_exact_at(&mut frame, at + LENGTH).ok()?;
    let end = at + LENGTH + frame.len() as u64;
    Some((bulk::decompress(&frame, most).ok()?, end))
}

fn index(bytes: u64, runs: &[Run]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD + RUN * runs.len());
    out.extend((PAGE as u32).to_le_bytes());
    out.extend((runs.len() as u32).to_le_bytes());
    out.extend(bytes.to_le_bytes());
    for run in runs {
        out.extend(run.first.to_le_bytes());
        out.extend(run.count.to_le_bytes());
    }
    out
}

fn read_index(index: &[u8], bytes: u64) -> Result<Vec<Run>, String> {
    let (head, rest) = index.split_at_checked(HEAD).ok_or("its index is not whole")?;
    let number = |part: &[u8]| part.iter().rev().fold(0u64, |n, b| n << 8 | u64::from(*b));
    let (size, count, ram) = (number(&head[..4]), number(&head[4..8]), number(&head[8..]));
    if size != PAGE {
        return Err(format!("its pages have {size} bytes, not {PAGE}"));
    }
    if ram != bytes {
        return Err(format!("it is of a VM with {ram} bytes of RAM, not {bytes}"));
    }
    let (pairs, over) = rest.as_chunks::<RUN>();
    if pairs.len() as u64 != count || !over.is_empty() {
        return Err("its index is not whole".into());
    }
    pairs.iter().try_fold(Vec::new(), |mut runs: Vec<Run>, pair| {
        let run = Run { first: number(&pair[..8]), count: number(&pair[8..]) };
        let after = runs.last().map_or(0, |last| last.first + last.count);
        let end = run.first.checked_add(run.count).filter(|end| *end <= bytes / PAGE);
        if run.count == 0 || run.first < after || end.is_none() {
            return Err("its index is out of order or out of bounds".to_owned());
        }
        runs.push(run);
        Ok(runs)
    })
}

struct Hashing<W> {
    inner: W,
    hash: blake3::Hasher,
    bytes: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(data)?;
        self.hash.update(&data[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
#[path = "delta_tests.rs"]
mod tests;
