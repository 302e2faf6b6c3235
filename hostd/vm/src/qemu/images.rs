//! Disk images, made with `qemu-img` and `mke2fs`.

use std::{
    ffi::OsString,
    fs::{self, File},
    path::Path,
    time::Duration,
};

use crate::{
    VmError,
    file::{absolute, failed},
    program::{MKE2FS, QEMU_IMG, Search},
};

/// Size of a blank root file system in bytes: room for ext4's journal and a few files.
pub const BLANK: u64 = 64 << 20;
/// Maximum time for an image to be made.
const MAKE: Duration = Duration::from_secs(60);

/// Makes an empty writable layer of `bytes` virtual size. On an error nothing is left.
pub(super) async fn create_layer(search: &Search, layer: &Path, bytes: u64) -> Result<(), VmError> {
    let layer = absolute(layer);
    let arguments: [OsString; 6] =
        ["create".into(), "-q".into(), "-f".into(), "qcow2".into(), layer.clone().into(), bytes.to_string().into()];
    let made = search.run(QEMU_IMG, &arguments, None, MAKE).await;
    if made.is_err() {
        // Half a layer is of no use.
        let _ = fs::remove_file(&layer);
    }
    made.map(drop)
}

/// Makes a root file system with nothing in it, of [`BLANK`] bytes: the guest brings what it needs itself.
pub(super) async fn create_blank_root(search: &Search, path: &Path) -> Result<(), VmError> {
    let seed = path.with_extension("seed");
    fs::create_dir_all(seed.join("etc")).map_err(failed(&seed))?;
    File::create(path).and_then(|file| file.set_len(BLANK)).map_err(failed(path))?;
    let arguments = ["-q", "-F", "-t", "ext4", "-E", "root_owner=0:0", "-d"].map(Path::new);
    let arguments: Vec<&Path> = arguments.into_iter().chain([seed.as_path(), path]).collect();
    let made = search.run(MKE2FS, &arguments, None, MAKE).await;
    fs::remove_dir_all(&seed).map_err(failed(&seed))?;
    made.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_blank_root_is_an_ext4() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("root.ext4");
        create_blank_root(&Search::default(), &path).await.unwrap();
        let image = fs::read(&path).unwrap();
        assert_eq!((image.len() as u64, &image[1080..1082]), (BLANK, &[0x53, 0xef][..]));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
