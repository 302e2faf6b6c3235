//! The kernel proper out of Debian's `vmlinuz`.
//!
//! QEMU boots an uncompressed kernel straight at its PVH entry. Unpacking it once on the host spares each cold boot that
//! work, which under TCG is a quarter of it. It also leaves out the kernel's own placing at random, of no use where all
//! clones of a template are alike.

use std::io::Read;

/// Most bytes of an unpacked kernel: kernels are some 50 MiB.
const MAX: usize = 256 << 20;
/// Most bytes that a block of an LZ4 stream unpacks to, as the kernel's build makes it.
const LZ4_BLOCK: usize = 8 << 20;
const LZ4_MAGIC: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Type of the note that names the PVH entry: XEN_ELFNOTE_PHYS32_ENTRY, of "Xen".
const PVH_ENTRY: u32 = 18;

/// Unpacks the ELF file in a bzImage (Linux's Documentation/arch/x86/boot.rst). None: packed in a way that is not understood,
/// or without a PVH entry; such a kernel is booted as it is.
pub(super) fn unpack(image: &[u8]) -> Option<Vec<u8>> {
    let elf = decompress(payload(image)?)?;
    has_pvh_entry(&elf).then_some(elf)
}

fn payload(image: &[u8]) -> Option<&[u8]> {
    if image.get(0x202..0x206)? != b"HdrS" || u16::from_le_bytes(*image.get(0x206..)?.first_chunk()?) < 0x208 {
        return None;
    }
    // zero means four, for the sake of very old kernels
    let sectors = match *image.get(0x1f1)? {
        0 => 4,
        sectors => usize::from(sectors),
    };
    let start = (sectors + 1) * 512 + u32_at(image, 0x248)? as usize;
    image.get(start..start.checked_add(u32_at(image, 0x24c)? as usize)?)
}

fn decompress(payload: &[u8]) -> Option<Vec<u8>> {
    match *payload.first_chunk::<4>()? {
        LZ4_MAGIC => lz4(payload.get(4..)?),
        ZSTD_MAGIC => zstd(payload),
        _ => None,
    }
}

/// Unpacks blocks with their lengths before them. What follows the last one is the unpacked length, which reads as a block that
/// is not there.
fn lz4(mut blocks: &[u8]) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    let mut block = vec![0; LZ4_BLOCK];
    while let Some(length) = u32_at(blocks, 0) {
        let Some(packed) = blocks.get(4..4 + length as usize) else { break };
        let unpacked = lz4_flex::block::decompress_into(packed, &mut block).ok()?;
        all.extend_from_slice(block.get(..unpacked)?);
        if all.len() > MAX {
            return None;
        }
        blocks = blocks.get(4 + length as usize..)?;
    }
    Some(all)
}

/// Unpacks one frame, behind which the unpacked length stands.
fn zstd(packed: &[u8]) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    let frame = zstd::stream::read::Decoder::with_buffer(packed).ok()?.single_frame();
    frame.take(MAX as u64 + 1).read_to_end(&mut all).ok()?;
    (all.len() <= MAX).then_some(all)
}

fn has_pvh_entry(elf: &[u8]) -> bool {
    find_pvh_entry(elf).unwrap_or(false)
}

/// Looks for the PVH entry among the notes of a 64-bit little-endian x86_64 file. None: it is no such file.
fn find_pvh_entry(elf: &[u8]) -> Option<bool> {
    if elf.get(..6)? != b"\x7fELF\x02\x01" || u16_at(elf, 18)? != 62 {
        return None;
    }
    let (headers, size, count) = (u64_at(elf, 32)?, u16_at(elf, 54)?, u16_at(elf, 56)?);
    for number in 0..u64::from(count) {
        let header = elf.get(usize::try_from(headers.checked_add(number * u64::from(size))?).ok()?..)?;
        if u32_at(header, 0)? == 4 {
            let (start, length) =
                (usize::try_from(u64_at(header, 8)?).ok()?, usize::try_from(u64_at(header, 32)?).ok()?);
            if notes_name_pvh(elf.get(start..start.checked_add(length)?)?)? {
                return Some(true);
            }
        }
    }
    Some(false)
}

fn notes_name_pvh(mut notes: &[u8]) -> Option<bool> {
    while !notes.is_empty() {
        let (name, data, kind) = (u32_at(notes, 0)? as usize, u32_at(notes, 4)? as usize, u32_at(notes, 8)?);
        if kind == PVH_ENTRY && notes.get(12..)?.starts_with(b"Xen\0") {
            return Some(true);
        }
        let length =
            12_usize.checked_add(name.checked_next_multiple_of(4)?)?.checked_add(data.checked_next_multiple_of(4)?)?;
        notes = notes.get(length..)?;
    }
    Some(false)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A kernel of notes alone.
    fn elf(kind: u32) -> Vec<u8> {
        let mut elf = b"\x7fELF\x02\x01".to_vec();
        elf.resize(64 + 56, 0);
        elf[18] = 62;
        elf[32] = 64;
        elf[54] = 56;
        elf[56] = 1;
        elf[64] = 4;
        elf[72] = 120;
        elf[96] = 40;
        for (name, kind) in [(b"GNU\0", 3), (b"Xen\0", kind)] {
            for field in [4, 4, kind] {
                elf.extend_from_slice(&u32::to_le_bytes(field));
            }
            elf.extend_from_slice(name);
            elf.extend_from_slice(&[1, 2, 3, 4]);
        }
        elf
    }

    fn bz_image(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 1024 + 16];
        image[0x1f1] = 1;
        image[0x202..0x208].copy_from_slice(b"HdrS\x0f\x02");
        image[0x248] = 16;
        image[0x24c..0x250].copy_from_slice(&u32::to_le_bytes(u32::try_from(payload.len()).unwrap()));
        image.extend_from_slice(payload);
        image.extend_from_slice(b"more");
        image
    }

    fn lz4_of(bytes: &[u8]) -> Vec<u8> {
        let mut payload = LZ4_MAGIC.to_vec();
        for block in bytes.chunks(100) {
            let packed = lz4_flex::block::compress(block);
            payload.extend_from_slice(&u32::to_le_bytes(u32::try_from(packed.len()).unwrap()));
            payload.extend_from_slice(&packed);
        }
        payload.extend_from_slice(&u32::to_le_bytes(u32::try_from(bytes.len()).unwrap()));
        payload
    }

    fn zstd_of(bytes: &[u8]) -> Vec<u8> {
        let mut payload = zstd::encode_all(bytes, 3).unwrap();
        payload.extend_from_slice(&u32::to_le_bytes(u32::try_from(bytes.len()).unwrap()));
        payload
    }

    #[test]
    fn unpacks_what_it_understands() {
        let kernel = elf(PVH_ENTRY);
        assert_eq!(unpack(&bz_image(&lz4_of(&kernel))), Some(kernel.clone()));
        assert_eq!(unpack(&bz_image(&zstd_of(&kernel))), Some(kernel.clone()));
        assert_eq!(unpack(&bz_image(&lz4_of(&elf(7)))), None, "no PVH entry");
        assert_eq!(unpack(&bz_image(b"\x1f\x8b gzip")), None);
        assert_eq!(unpack(b"image"), None);
        assert_eq!(unpack(&bz_image(&lz4_of(&kernel))[..1100]), None, "cut off");
    }

    proptest! {
        #[test]
        fn never_panics(at in 0_usize..1400, bytes in proptest::collection::vec(any::<u8>(), 1..9)) {
            for packed in [lz4_of(&elf(PVH_ENTRY)), zstd_of(&elf(PVH_ENTRY))] {
                let mut image = bz_image(&packed);
                for (old, new) in image.iter_mut().skip(at).zip(&bytes) {
                    *old = *new;
                }
                let _ = unpack(&image);
            }
            let mut elf = elf(PVH_ENTRY);
            for (old, new) in elf.iter_mut().skip(at % 160).zip(&bytes) {
                *old = *new;
            }
            let _ = has_pvh_entry(&elf);
        }
    }
}
