//! Whole images: layers are made here or by GNU tar, written, checked by e2fsck and read back by debugfs.

mod archives;
mod images;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tempfile::TempDir;

use crate::{Bounds, Image, ImageError, Tree, Watch};

const DISK: u64 = 256 << 20;

/// Goes on for as long as is allowed.
pub(super) struct Always(AtomicU64, u64);

impl Watch for Always {
    fn goes_on(&self, read: u64) -> bool {
        self.0.store(read, Ordering::Relaxed);
        read < self.1
    }

    fn is_ended(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= self.1
    }
}

pub(super) struct Fixture {
    folder: Arc<TempDir>,
    layers: Vec<PathBuf>,
    programs: Option<PathBuf>,
    watch: Always,
    bounds: Bounds,
}

impl Fixture {
    pub(super) fn new(layers: &[Vec<u8>]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let paths = layers.iter().enumerate().map(|(number, bytes)| {
            let path = folder.path().join(format!("layer{number}"));
            fs::write(&path, bytes).unwrap();
            path
        });
        let layers = paths.collect();
        let watch = Always(AtomicU64::new(0), u64::MAX);
        Self { layers, programs: None, folder: Arc::new(folder), watch, bounds: Bounds::for_disk(DISK) }
    }

    pub(super) fn image(&self) -> Image<'_> {
        let mut image = Image::new(self.layers.clone(), self.bounds, &self.watch);
        self.programs.iter().for_each(|path| image.add_programs(path.clone()));
        image
    }

    pub(super) fn refused(&self) -> String {
        self.image().tree().unwrap_err().to_string()
    }

    /// Writes the image; e2fsck has nothing to say.
    pub(super) fn written(&self) -> Written {
        let image = self.image();
        let tree = image.tree().unwrap();
        let path = self.make(&tree);
        image.write(&tree, &File::options().read(true).write(true).open(&path).unwrap()).unwrap();
        let checked = run("e2fsck", &["-f", "-n", path.to_str().unwrap()]);
        assert!(checked.0, "{}", checked.1);
        Written { path, _folder: self.folder.clone() }
    }

    fn make(&self, tree: &Tree) -> PathBuf {
        let path = self.folder.path().join("image");
        File::create(&path).unwrap();
        let options = tree.mke2fs(DISK);
        let mut words: Vec<&str> = vec!["-q", "-F", "-E", "assume_storage_prezeroed=1,root_owner=0:0"];
        words.extend(options.iter().map(String::as_str));
        let size = format!("{}M", DISK >> 20);
        words.extend([path.to_str().unwrap(), &size]);
        let made = run("mke2fs", &words);
        assert!(made.0, "{}", made.1);
        path
    }
}

pub(super) struct Written {
    path: PathBuf,
    _folder: Arc<TempDir>,
}

impl Written {
    pub(super) fn ask(&self, request: &str) -> String {
        run("debugfs", &["-R", request, self.path.to_str().unwrap()]).1
    }

    pub(super) fn cat(&self, path: &str) -> String {
        self.ask(&format!("cat \"{path}\""))
            .split_once("debugfs 1.")
            .map_or_else(String::new, |(text, _)| text.to_owned())
    }

    /// Names in a folder, without those that every folder has.
    pub(super) fn names(&self, path: &str) -> Vec<String> {
        let listed = self.ask(&format!("ls -p \"{path}\""));
        let names = listed.lines().filter_map(|line| line.strip_prefix('/')?.split('/').nth(4));
        let mut names: Vec<String> =
            names.filter(|name| !matches!(*name, "" | "." | ".." | "lost+found")).map(Into::into).collect();
        names.sort();
        names
    }

    /// Words that debugfs says of a file.
    pub(super) fn says(&self, path: &str, words: &[&str]) {
        let stat = self.ask(&format!("stat \"{path}\""));
        let flat = stat.split_whitespace().collect::<Vec<_>>().join(" ");
        for word in words {
            assert!(flat.contains(word), "{path}: no {word} in {flat}");
        }
    }
}

/// Whether a program ended well, and what it said: standard output first.
pub(super) fn run(program: &str, words: &[&str]) -> (bool, String) {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap());
    let output = Command::new(program).args(words).env("PATH", path).env("LC_ALL", "C").output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// A header of an entry, as POSIX has it.
pub(super) fn header(name: &str, kind: u8, size: usize) -> Vec<u8> {
    let mut header = vec![0; 512];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{size:011o}\0"));
    put(136, "14000000000\0");
    put(257, "ustar\x0000");
    header[156] = kind;
    header
}

/// The header with its sum.
pub(super) fn sealed(mut header: Vec<u8>) -> Vec<u8> {
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

pub(super) fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

/// A file with these contents.
pub(super) fn file(name: &str, text: &str) -> Vec<u8> {
    [sealed(header(name, b'0', text.len())), padded(text.into())].concat()
}

pub(super) fn folder(name: &str) -> Vec<u8> {
    let mut header = header(name, b'5', 0);
    header[100..108].copy_from_slice(b"0000755\0");
    sealed(header)
}

/// A link, symbolic (`2`) or hard (`1`).
pub(super) fn link(kind: u8, name: &str, to: &str) -> Vec<u8> {
    let mut header = header(name, kind, 0);
    header[157..157 + to.len()].copy_from_slice(to.as_bytes());
    sealed(header)
}

/// An extended header with these records.
pub(super) fn pax(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut text = vec![];
    for (key, value) in records {
        let inner = key.len() + value.len() + 3;
        let length = (1..).find(|digits| (inner + digits).to_string().len() == *digits).unwrap() + inner;
        text.extend(format!("{length} {key}=").into_bytes());
        text.extend(*value);
        text.push(b'\n');
    }
    [sealed(header("pax", b'x', text.len())), padded(text)].concat()
}

pub(super) fn layer(entries: &[Vec<u8>]) -> Vec<u8> {
    [entries.concat(), vec![0; 1024]].concat()
}

/// GNU tar over a folder, with these options.
pub(super) fn tar(folder: &Path, options: &[&str]) -> Vec<u8> {
    let mut command = Command::new("tar");
    let output = command.args(["-c", "--sort=name"]).args(options).arg("-C").arg(folder).arg(".").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

pub(super) fn is_stopped(error: &ImageError) -> bool {
    matches!(error, ImageError::Stopped)
}
