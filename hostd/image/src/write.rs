//! From an image's layers to a file system.

use std::{
    collections::HashMap,
    fs::File,
    path::{Path, PathBuf},
};

use crate::{
    archive::{Archive, Bad},
    error::ImageError,
    ext4::{Files, Target},
    layer::{self, Bounds, Meter},
    tree::{Body, Contents, Id, Tree},
    watch::Watch,
};

/// Bytes of a file that are held at once.
const CHUNK: usize = 1 << 20;
/// Most bytes of a file that is read for its text.
const TEXT_MAX: u64 = 1 << 20;
/// Entries after which whoever watches is asked.
const ASKED: usize = 1000;

/// The layers of an image, bottom first.
pub struct Image<'a> {
    layers: Vec<Layer>,
    bounds: Bounds,
    watch: &'a dyn Watch,
}

struct Layer {
    path: PathBuf,
    /// Whether it is put on as files are added to a system, and not as a layer of an image.
    gentle: bool,
}

impl<'a> Image<'a> {
    /// An image of these layers: tars as they are, or packed by gzip or zstd.
    #[must_use]
    pub fn new(layers: Vec<PathBuf>, bounds: Bounds, watch: &'a dyn Watch) -> Self {
        let layers = layers.into_iter().map(|path| Layer { path, gentle: false }).collect();
        Self { layers, bounds, watch }
    }

    /// Puts a tar of programs on top: its folders change nothing where there are any, and no name of it is a whiteout.
    pub fn add_programs(&mut self, path: PathBuf) {
        self.layers.push(Layer { path, gentle: true });
    }

    /// Reads the names of all layers.
    ///
    /// # Errors
    /// A layer is none, or cannot be read, or asks for too much.
    pub fn tree(&self) -> Result<Tree, ImageError> {
        let mut tree = Tree::new(self.bounds.names, self.bounds.memory);
        let mut meter = self.meter();
        for (number, Layer { gentle, .. }) in self.layers.iter().enumerate() {
            tree.begin(number);
            self.read(number, &mut meter, |entry, at, _| Ok(tree.put(entry, at, *gentle).map(|()| true)?))?;
        }
        // The file system has one of its own.
        tree.remove("lost+found");
        Ok(tree)
    }

    /// The text of a small file of the tree; None: there is no file of this path.
    ///
    /// # Errors
    /// Its layer cannot be read, or it is not small.
    pub fn text(&self, tree: &Tree, path: &str) -> Result<Option<Vec<u8>>, ImageError> {
        let Some(id) = tree.find(path) else { return Ok(None) };
        let Body::File { size, contents, .. } = &tree.nodes[id].body else { return Ok(None) };
        let (layer, number) = match contents {
            Contents::Bytes(bytes) => return Ok(Some(bytes.clone())),
            Contents::Of { layer, entry } => (*layer, *entry),
        };
        if *size > TEXT_MAX {
            return Err(ImageError::Bound(format!("its {path} has {size} bytes; at most {TEXT_MAX} are read")));
        }
        let mut text = vec![];
        self.read(layer, &mut self.meter(), |_, at, archive| {
            if at < number {
                return Ok(true);
            }
            let mut buffer = vec![0; CHUNK];
            loop {
                match archive.read(&mut buffer)? {
                    0 => return Ok(false),
                    length => text.extend_from_slice(&buffer[..length]),
                }
            }
        })?;
        Ok(Some(text))
    }

    /// Writes the tree into the empty ext4 file system in `image`, which mke2fs has made; contents come from the layers.
    ///
    /// # Errors
    /// It does not fit, or a file cannot be read or written.
    pub fn write(&self, tree: &Tree, image: &File) -> Result<(), ImageError> {
        let files = Files::plan(tree, image)?;
        let mut buffer = vec![0; CHUNK];
        let mut wanted: HashMap<(usize, usize), Id> = HashMap::new();
        for (id, node) in tree.nodes.iter().enumerate().filter(|(_, node)| node.names > 0) {
            match &node.body {
                Body::File { contents: Contents::Of { layer, entry }, .. } => {
                    wanted.insert((*layer, *entry), id);
                }
                Body::File { contents: Contents::Bytes(bytes), .. } => {
                    files.target(id, None, bytes.len() as u64).put(bytes)?;
                }
                _ => {}
            }
        }
        let mut meter = self.meter();
        meter.read = self.layers.iter().filter_map(|layer| layer.path.metadata().ok()).map(|is| is.len()).sum();
        for number in 0..self.layers.len() {
            self.read(number, &mut meter, |entry, at, archive| {
                let Some(id) = wanted.get(&(number, at)) else { return Ok(true) };
                let mut target = files.target(*id, entry.pieces.as_deref(), entry.size);
                copy(archive, &mut target, &mut buffer)?;
                Ok(true)
            })?;
        }
        Ok(())
    }

    fn meter(&self) -> Meter<'a> {
        Meter { left: self.bounds.unpacked, read: 0, watch: self.watch }
    }

    /// Gives each entry of a layer, with its number, to `each`, until that says false.
    fn read(
        &self,
        number: usize,
        meter: &mut Meter<'_>,
        mut each: impl FnMut(crate::archive::Entry, usize, &mut Archive<Box<dyn std::io::Read + '_>>) -> Result<bool, Stop>,
    ) -> Result<(), ImageError> {
        let path: &Path = &self.layers[number].path;
        let mut archive = Archive::new(layer::open(path, meter)?);
        let why = |stop: Stop| match stop {
            Stop::Bad(Bad::Said(why)) => ImageError::Layer { number: number + 1, why },
            Stop::Bad(Bad::Read(error)) => layer::unreadable(number + 1, &error),
            Stop::Error(error) => error,
        };
        let mut at = 0;
        while let Some(entry) = archive.next().map_err(|bad| why(Stop::Bad(bad)))? {
            if at >= self.bounds.names {
                return Err(why(Stop::Bad("it has more entries than are taken".into())));
            }
            if at % ASKED == ASKED - 1 && self.watch.is_ended() {
                return Err(ImageError::Stopped);
            }
            if !each(entry, at, &mut archive).map_err(why)? {
                break;
            }
            at += 1;
        }
        Ok(())
    }
}

/// Why a layer is not read on.
enum Stop {
    Bad(Bad),
    Error(ImageError),
}

impl From<Bad> for Stop {
    fn from(bad: Bad) -> Self {
        Self::Bad(bad)
    }
}

impl From<String> for Stop {
    fn from(why: String) -> Self {
        Self::Bad(why.into())
    }
}

impl From<ImageError> for Stop {
    fn from(error: ImageError) -> Self {
        Self::Error(error)
    }
}

fn copy<R: std::io::Read>(archive: &mut Archive<R>, target: &mut Target<'_>, buffer: &mut [u8]) -> Result<(), Stop> {
    loop {
        match archive.read(buffer)? {
            0 => return Ok(()),
            length => target.put(&buffer[..length])?,
        }
    }
}
