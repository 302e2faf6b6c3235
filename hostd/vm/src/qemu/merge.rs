//! Several frozen layers become one, into a new file. The old ones are only read: a VM may have them open.

use std::{
    ffi::OsString,
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};

use super::argv::{bad_layer, utf8};
use crate::{
    VmError,
    file::failed,
    program::{QEMU_IMG, Search},
};

/// Longest time for one layer to be copied: some of them are many GiB on a slow disk.
const COPY: Duration = Duration::from_secs(2 * 3600);

/// Copies the layers from number `own` on into `to`, an empty layer that is there; synced.
///
/// `qemu-img convert -B` copies what one layer has above the one below it, zeros and discards too; so it is run for each of
/// them, bottom first. Its target's backing is named here, as all of ours are, and `-B` itself only makes it leave out what
/// the layer does not have.
pub(super) async fn merge(search: &Search, layers: &[PathBuf], own: usize, to: &Path) -> Result<(), VmError> {
    let (shared, rest) = layers.split_at(own.min(layers.len()));
    let below = graph(shared)?;
    let target = json!({
        "driver": "qcow2", "discard": "unmap", "backing": below,
        "file": {"driver": "file", "filename": utf8(to)?, "discard": "unmap"},
    });
    let Some(base) = shared.last().or(rest.first()) else { return Ok(()) };
    let format = if base.extension().is_some_and(|e| e == "ext4") { "raw" } else { "qcow2" };
    for number in 1..=rest.len() {
        let source = graph(&layers[..shared.len() + number])?;
        let mut arguments: Vec<OsString> = ["convert", "-n", "-O", "qcow2", "-F", format, "-B"].map(Into::into).into();
        arguments.extend([base.into(), json_name(&source), json_name(&target)]);
        search.run(QEMU_IMG, &arguments, None, COPY).await?;
    }
    File::open(to).and_then(|file| file.sync_all()).map_err(failed(to))?;
    let folder = to.parent().unwrap_or(to);
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(folder))
}

/// A chain that is only read, as one nested node; bottom first.
fn graph(layers: &[PathBuf]) -> Result<Value, VmError> {
    layers.iter().try_fold(Value::Null, |below, layer| {
        let file = json!({"driver": "file", "filename": utf8(layer)?, "read-only": true});
        match layer.extension().and_then(|e| e.to_str()) {
            Some("ext4") if below.is_null() => Ok(json!({"driver": "raw", "file": file, "read-only": true})),
            Some("qcow2") => Ok(json!({"driver": "qcow2", "file": file, "backing": below, "read-only": true})),
            _ => Err(bad_layer(layer, "is neither an .ext4 at the bottom nor a .qcow2")),
        }
    })
}

fn json_name(node: &Value) -> OsString {
    format!("json:{node}").into()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const MIB: u64 = 1 << 20;

    struct Chain {
        folder: tempfile::TempDir,
        layers: Vec<PathBuf>,
    }

    impl Chain {
        /// A base that is full, and a build above it.
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let base = folder.path().join("base, or so.ext4");
            std::fs::write(&base, vec![0x11; 8 * MIB as usize]).unwrap();
            let mut chain = Self { folder, layers: vec![base] };
            chain.layer(&["write -P 0x22 1M 2M"]);
            chain
        }

        fn run(program: &str, arguments: &[OsString]) -> String {
            let out = Command::new(program).args(arguments).output().unwrap();
            assert!(out.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
            String::from_utf8(out.stdout).unwrap()
        }

        fn empty(&self, name: &str) -> PathBuf {
            let path = self.folder.path().join(name);
            let words = ["create".into(), "-q".into(), "-f".into(), "qcow2".into(), path.clone().into(), "64M".into()];
            Self::run("qemu-img", &words);
            path
        }

        /// Adds a layer, written to as a guest would.
        fn layer(&mut self, commands: &[&str]) {
            let top = self.empty(&format!("layer{}.qcow2", self.layers.len()));
            let node = json!({
                "driver": "qcow2", "discard": "unmap", "backing": graph(&self.layers).unwrap(),
                "file": {"driver": "file", "filename": top, "discard": "unmap"},
            });
            let words = commands.iter().flat_map(|command| ["-c".into(), (*command).into()]);
            Self::run("qemu-io", &words.chain([json_name(&node)]).collect::<Vec<_>>());
            std::fs::set_permissions(&top, std::os::unix::fs::PermissionsExt::from_mode(0o444)).unwrap();
            self.layers.push(top);
        }

        async fn merged(&self, own: usize) -> Vec<PathBuf> {
            let to = self.empty("merged.qcow2");
            merge(&Search::default(), &self.layers, own, &to).await.unwrap();
            [&self.layers[..own], &[to]].concat()
        }

        fn same(one: &[PathBuf], other: &[PathBuf]) {
            let words = ["compare".into(), json_name(&graph(one).unwrap()), json_name(&graph(other).unwrap())];
            assert!(Self::run("qemu-img", &words).contains("identical"));
        }
    }

    fn on_disk(path: &Path) -> u64 {
        std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(path).unwrap()) * 512
    }

    #[tokio::test]
    async fn the_merged_layer_says_what_the_layers_said() {
        let mut chain = Chain::new();
        // Parts of clusters, zeros written, discards of what lies below, and writes over all of them.
        chain.layer(&[
            "write -P 3 512k 1M",
            "write -P 4 20M 1k",
            "discard 2M 256k",
            "write -z 3M 64k",
            "discard 7M 1M",
        ]);
        chain.layer(&["write -P 5 1M 68k", "discard 512k 64k", "write -P 0 600k 4k", "write -P 6 7M 100k"]);
        chain.layer(&["write -P 7 20M 512", "discard 4M 1M", "write -P 8 63M 1M"]);
        Chain::same(&chain.layers, &chain.merged(2).await);
    }

    #[tokio::test]
    async fn what_was_deleted_is_not_held() {
        let mut chain = Chain::new();
        chain.layer(&["write -P 3 16M 24M", "write -P 4 0 1M"]);
        chain.layer(&["discard 16M 24M"]);
        let merged = chain.merged(2).await;
        assert!(on_disk(&chain.layers[2]) > 24 * MIB);
        assert!(on_disk(&merged[2]) < 2 * MIB, "{} bytes", on_disk(&merged[2]));
        Chain::same(&chain.layers, &merged);
        let info = Chain::run("qemu-img", &["info".into(), merged[2].clone().into()]);
        assert!(!info.contains("backing"), "{info}");
    }

    #[tokio::test]
    async fn a_layer_that_is_none_is_refused() {
        let mut chain = Chain::new();
        chain.layer(&["write 0 64k"]);
        let to = chain.empty("merged.qcow2");
        std::fs::write(&chain.layers[1], "no qcow2").unwrap();
        let error = merge(&Search::default(), &chain.layers, 2, &to).await.unwrap_err().to_string();
        assert!(error.contains("qemu-img failed"), "{error}");
    }
}
