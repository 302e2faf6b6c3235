//! Extended attributes of a file, in a block of their own.

use crate::BLOCK;

const MAGIC: u32 = 0xea02_0000;
const HEADER: usize = 32;
const ENTRY: usize = 16;

/// The block with these attributes, which are known to fit.
pub(super) fn block(attributes: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut block = vec![0; BLOCK as usize];
    let mut sorted: Vec<(u8, &[u8], &[u8])> = attributes
        .iter()
        .filter_map(|(name, value)| parts(name).map(|(index, name)| (index, name, &value[..])))
        .collect();
    // In which order the kernel looks for them.
    sorted.sort_by(|a, b| (a.0, a.1.len(), a.1).cmp(&(b.0, b.1.len(), b.1)));
    let (mut at, mut end, mut whole) = (HEADER, block.len(), 0u32);
    for (index, name, value) in sorted {
        end -= value.len().next_multiple_of(4);
        block[end..end + value.len()].copy_from_slice(value);
        let hash = hash(name, &block[end..end + value.len().next_multiple_of(4)]);
        let offset = if value.is_empty() { 0 } else { u16::try_from(end).unwrap_or(0) };
        block[at] = u8::try_from(name.len()).unwrap_or(0);
        block[at + 1] = index;
        block[at + 2..at + 4].copy_from_slice(&offset.to_le_bytes());
        block[at + 8..at + 12].copy_from_slice(&u32::try_from(value.len()).unwrap_or(0).to_le_bytes());
        block[at + 12..at + 16].copy_from_slice(&hash.to_le_bytes());
        block[at + ENTRY..at + ENTRY + name.len()].copy_from_slice(name);
        at += (ENTRY + name.len()).next_multiple_of(4);
        whole = whole.rotate_left(16) ^ hash;
    }
    for (at, word) in [(0, MAGIC), (4, 1), (8, 1), (12, whole)] {
        block[at..at + 4].copy_from_slice(&word.to_le_bytes());
    }
    block
}

/// A name in two parts: a number for its beginning, and the rest.
fn parts(name: &[u8]) -> Option<(u8, &[u8])> {
    let prefixes: [(u8, &[u8]); 2] = [(1, b"user."), (6, b"security.")];
    prefixes
        .iter()
        .find_map(|(index, prefix)| Some((*index, name.strip_prefix(*prefix)?)))
        .filter(|(_, rest)| !rest.is_empty())
}

/// Hash of an entry; its value is padded to whole words.
fn hash(name: &[u8], value: &[u8]) -> u32 {
    let of_name = name.iter().fold(0u32, |hash, byte| hash.rotate_left(5) ^ u32::from(*byte));
    let words = value.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
    words.fold(of_name, |hash, word| hash.rotate_left(16) ^ word)
}
