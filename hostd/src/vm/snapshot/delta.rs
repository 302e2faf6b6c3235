//! The delta of a clone's memory: the pages it has written since it was cloned, and nothing else.
//!
//! A clone maps its template's RAM file `MAP_PRIVATE`, so a page that it has written is an anonymous copy in its process.
//! `/proc/PID/pagemap` tells them apart: one little-endian `u64` for each page, bit 63 present, bit 62 swapped, bit 61
//! file-mapped or shared (Documentation/admin-guide/mm/pagemap.rst in Linux). Their bytes are read and written through
//! `/proc/PID/mem`.
//!
//! The file is one zstd frame of: the 8 bytes `PLTHDLT1`; little-endian `u32` page size, `u32` number of runs, `u64` bytes of
//! RAM; for each run `u64` first page and `u64` count, ascending and apart; then the pages of all runs.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::SnapshotError;

/// Of every machine that hostd runs on (x86-64).
pub const PAGE: u64 = 4096;
const MAGIC: &[u8; 8] = b"PLTHDLT1";
/// Pages go through a buffer of this many.
const CHUNK: u64 = 256;
/// Level of compression: a suspend is waited for, and higher levels gain little on memory pages.
const LEVEL: i32 = 1;

/// Pages that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Number of the first page, from the start of RAM.
    pub first: u64,
    /// How many; at least 1.
    pub count: u64,
}

/// What a delta came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Pages kept.
    pub pages: u64,
    /// Size of the file.
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

    /// The pages that the process has written since it mapped its template.
    ///
    /// # Errors
    /// Where the page map cannot be read.
    pub fn written(&self) -> Result<Vec<Run>, SnapshotError> {
        let mut runs = Vec::new();
        let mut buffer = vec![0; (CHUNK * 8) as usize * 16];
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

    /// Writes the delta to a new file.
    ///
    /// # Errors
    /// Where the file cannot be written (a full disk) or the memory cannot be read; the partial file is removed.
    pub fn save(&self, path: &Path) -> Result<Saved, SnapshotError> {
        let runs = self.written()?;
        self.write_file(path, &runs).inspect_err(|_| drop(std::fs::remove_file(path)))
    }

    fn write_file(&self, path: &Path, runs: &[Run]) -> Result<Saved, SnapshotError> {
        let io = |error| SnapshotError::Io { path: path.into(), error };
        // A guest's memory holds its secrets.
        let file = File::options().write(true).create_new(true).mode(0o600).open(path).map_err(io)?;
        let out = io::BufWriter::with_capacity(1 << 20, Hashing { inner: file, hash: blake3::Hasher::new(), bytes: 0 });
        let mut out = zstd::Encoder::new(out, LEVEL).map_err(io)?;
        out.write_all(&header(self.bytes, runs)).map_err(io)?;
        let mut buffer = vec![0; (CHUNK * PAGE) as usize];
        for (address, bytes) in self.parts(runs) {
            let part = &mut buffer[..bytes];
            self.memory.read_exact_at(part, address).map_err(|error| self.failed("mem", error))?;
            out.write_all(part).map_err(io)?;
        }
        let done = out.finish().map_err(io)?.into_inner().map_err(|e| io(e.into_error()))?;
        let pages = runs.iter().map(|r| r.count).sum();
        Ok(Saved { pages, file_bytes: done.bytes, hash: done.hash.finalize().to_hex().to_string() })
    }

    /// Writes the pages of a delta file into the process. Its hash must have been checked with [`verify`].
    ///
    /// # Errors
    /// Where the file does not fit this RAM, or the memory cannot be written; the process is then good for nothing.
    pub fn load(&self, path: &Path) -> Result<Vec<Run>, SnapshotError> {
        let io = |error| SnapshotError::Io { path: path.into(), error };
        let damaged = |what: &str| SnapshotError::Damaged { path: path.into(), what: what.into() };
        let mut input = zstd::Decoder::new(File::open(path).map_err(io)?).map_err(io)?;
        let runs = read_header(&mut input, self.bytes).map_err(|what| damaged(&what))?;
        let mut buffer = vec![0; (CHUNK * PAGE) as usize];
        for (address, bytes) in self.parts(&runs) {
            let part = &mut buffer[..bytes];
            input.read_exact(part).map_err(|_| damaged("it ends before its last page"))?;
            self.memory.write_all_at(part, address).map_err(|error| self.failed("mem", error))?;
        }
        match input.read(&mut [0]) {
            Ok(0) => Ok(runs),
            _ => Err(damaged("it goes on after its last page")),
        }
    }

    /// Addresses and lengths (at most one buffer each) of all pages of `runs`.
    fn parts<'a>(&'a self, runs: &'a [Run]) -> impl Iterator<Item = (u64, usize)> + 'a {
        runs.iter().flat_map(move |run| {
            (0..run.count)
                .step_by(CHUNK as usize)
                .map(move |at| (self.base + (run.first + at) * PAGE, ((run.count - at).min(CHUNK) * PAGE) as usize))
        })
    }

    fn failed(&self, name: &str, error: io::Error) -> SnapshotError {
        SnapshotError::Io { path: self.process.join(name), error }
    }
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

/// Adds to `runs` the written pages among `entries`, the first of which is that of `page`.
fn collect(runs: &mut Vec<Run>, page: u64, entries: &[u8]) {
    for (number, entry) in (page..).zip(entries.as_chunks::<8>().0) {
        let entry = u64::from_le_bytes(*entry);
        // Present or swapped, and not the file's.
        if entry >> 62 == 0 || entry >> 61 & 1 == 1 {
            continue;
        }
        match runs.last_mut() {
            Some(last) if last.first + last.count == number => last.count += 1,
            _ => runs.push(Run { first: number, count: 1 }),
        }
    }
}

fn header(bytes: u64, runs: &[Run]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend((PAGE as u32).to_le_bytes());
    out.extend((runs.len() as u32).to_le_bytes());
    out.extend(bytes.to_le_bytes());
    for run in runs {
        out.extend(run.first.to_le_bytes());
        out.extend(run.count.to_le_bytes());
    }
    out
}

fn read_header(input: &mut impl Read, bytes: u64) -> Result<Vec<Run>, String> {
    let mut head = [0; 24];
    input.read_exact(&mut head).map_err(|_| "it ends within its header")?;
    let (magic, rest) = head.split_at(8);
    let word = |at: usize| rest[at..at + 4].iter().rev().fold(0u64, |n, b| n << 8 | u64::from(*b));
    if magic != MAGIC || word(0) != PAGE {
        return Err("it is no memory delta of this version".into());
    }
    let (count, ram) = (word(4), word(8) | word(12) << 32);
    if ram != bytes {
        return Err(format!("it is of a VM with {ram} bytes of RAM, not {bytes}"));
    }
    if count > bytes / PAGE {
        return Err("it has more runs than the RAM has pages".into());
    }
    (0..count).try_fold(Vec::new(), |mut runs: Vec<Run>, _| {
        let mut pair = [0; 16];
        input.read_exact(&mut pair).map_err(|_| "it ends within its index")?;
        let number = |part: &[u8]| part.iter().rev().fold(0u64, |n, b| n << 8 | u64::from(*b));
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
mod tests {
    use super::*;

    fn runs(pairs: &[(u64, u64)]) -> Vec<Run> {
        pairs.iter().map(|&(first, count)| Run { first, count }).collect()
    }

    #[test]
    fn page_map_entries_become_runs() {
        let (present, file, swapped) = (1u64 << 63, 1u64 << 63 | 1 << 61, 1u64 << 62);
        let entries: Vec<u8> =
            [0, present, present, file, swapped, 0, present].iter().flat_map(|e| e.to_le_bytes()).collect();
        let mut found = Vec::new();
        collect(&mut found, 0, &entries[..16]);
        collect(&mut found, 2, &entries[16..]);
        assert_eq!(found, runs(&[(1, 2), (4, 1), (6, 1)]));
    }

    #[test]
    fn a_header_reads_back_and_a_bad_one_is_refused() {
        let good = runs(&[(0, 1), (5, 10), (100, 1)]);
        let bytes = 128 * PAGE;
        assert_eq!(read_header(&mut header(bytes, &good).as_slice(), bytes).unwrap(), good);
        for bad in [
            runs(&[(5, 1), (4, 1)]),
            runs(&[(0, 0)]),
            runs(&[(127, 2)]),
            runs(&[(u64::MAX, 2)]),
            runs(&[(3, 4), (5, 1)]),
        ] {
            assert!(read_header(&mut header(bytes, &bad).as_slice(), bytes).is_err(), "{bad:?}");
        }
        assert!(read_header(&mut header(bytes, &good).as_slice(), bytes * 2).is_err());
        assert!(read_header(&mut &header(bytes, &good)[..30], bytes).is_err());
        assert!(read_header(&mut &b"nonsense"[..], bytes).is_err());
    }

    /// A child process that maps a file privately and writes some pages stands for QEMU.
    #[test]
    fn written_pages_of_a_process_go_out_and_into_another() {
        let folder = tempfile::tempdir().unwrap();
        let template = folder.path().join("ram");
        std::fs::write(&template, vec![7u8; 64 * PAGE as usize]).unwrap();
        let mut first = Mapped::start(&template);
        first.touch(&[3, 4, 9]);
        let ram = first.ram(64 * PAGE);
        assert_eq!(ram.written().unwrap(), runs(&[(3, 2), (9, 1)]));
        let file = folder.path().join("delta");
        let saved = ram.save(&file).unwrap();
        assert_eq!(saved.pages, 3);
        verify(&file, &saved.hash).unwrap();

        let second = Mapped::start(&template);
        let other = second.ram(64 * PAGE);
        assert_eq!(other.written().unwrap(), vec![]);
        let loaded = other.load(&file).unwrap();
        assert_eq!(loaded, other.written().unwrap());
        let mut page = [0; 4];
        other.memory.read_exact_at(&mut page, other.base + 9 * PAGE).unwrap();
        assert_eq!(page, [0xaa, 7, 7, 7]);

        let mut damaged = std::fs::read(&file).unwrap();
        let last = damaged.len() - 1;
        damaged[last] ^= 1;
        std::fs::write(&file, damaged).unwrap();
        assert!(matches!(verify(&file, &saved.hash), Err(SnapshotError::Damaged { .. })));
    }

    struct Mapped {
        child: std::process::Child,
        base: u64,
    }

    impl Mapped {
        fn start(file: &Path) -> Self {
            let program = "import ctypes, mmap, sys\n\
                f = open(sys.argv[1], 'r+b'); m = mmap.mmap(f.fileno(), 0, flags=mmap.MAP_PRIVATE)\n\
                print(ctypes.addressof(ctypes.c_char.from_buffer(m)), flush=True)\n\
                for line in sys.stdin: m[int(line) * 4096] = 0xaa; print('ok', flush=True)\n";
            let mut child = std::process::Command::new("python3")
                .args(["-c", program])
                .arg(file)
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            let base = Self::line(&mut child).parse().unwrap();
            Self { child, base }
        }

        fn line(child: &mut std::process::Child) -> String {
            let mut line = Vec::new();
            let mut byte = [0];
            while child.stdout.as_mut().unwrap().read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
                line.push(byte[0]);
            }
            String::from_utf8(line).unwrap()
        }

        fn touch(&mut self, pages: &[u64]) {
            for page in pages {
                writeln!(self.child.stdin.as_mut().unwrap(), "{page}").unwrap();
                assert_eq!(Self::line(&mut self.child), "ok");
            }
        }

        fn ram(&self, bytes: u64) -> Ram {
            Ram::open(self.child.id(), self.base, bytes).unwrap()
        }
    }

    impl Drop for Mapped {
        fn drop(&mut self) {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}
