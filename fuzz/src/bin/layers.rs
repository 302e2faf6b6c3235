//! Layers of container images, merged: whatever they say, the tree that comes of it is one.
#![no_main]

use std::fs;

use hostd_image::{Bounds, Image, Watch};
use libfuzzer_sys::fuzz_target;

const BLOCK: usize = 512;

struct Always;

impl Watch for Always {
    fn goes_on(&self, _: u64) -> bool {
        true
    }

    fn is_ended(&self) -> bool {
        false
    }
}

/// A block with the sum that a header has: else hardly one would be looked at.
fn sealed(block: &[u8]) -> Vec<u8> {
    let mut block = block.to_vec();
    if block.len() == BLOCK && block.iter().any(|byte| *byte != 0) {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    block
}

fuzz_target!(|data: &[u8]| {
    let Some((how, data)) = data.split_first() else { return };
    let blocks: Vec<Vec<u8>> =
        data.chunks(BLOCK).map(|block| if how & 1 == 1 { sealed(block) } else { block.to_vec() }).collect();
    // Cut into two layers, of which the upper begins somewhere.
    let (below, above) = blocks.split_at((usize::from(how >> 1)).min(blocks.len()));
    let folder = pilothouse_fuzz::scratch();
    let layers = [("below", below), ("above", above)].map(|(name, blocks)| {
        let path = folder.join(name);
        fs::write(&path, blocks.concat()).expect("a layer");
        path
    });
    let image = Image::new(layers.to_vec(), Bounds { unpacked: 4 << 20, names: 1000, memory: 1 << 20 }, &Always);
    if let Ok(mut tree) = image.tree() {
        assert!(tree.is_sound());
        let _ = image.text(&tree, "/etc/passwd");
        let _ = tree.make_folder("/a/b/c", 0o755);
        let _ = tree.put_file("/etc/passwd", vec![], 0o644);
        tree.remove("/a");
        assert!(tree.is_sound());
    }
});
