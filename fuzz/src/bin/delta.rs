//! The memory of a snapshot, loaded into this process; as it is, and with its index and pages in frames, which reaches further.
#![no_main]

use std::{cell::RefCell, fs, path::PathBuf, sync::LazyLock};

use hostd::vm::snapshot::delta::{PAGE, Ram};
use libfuzzer_sys::fuzz_target;

const PAGES: u64 = 64;
/// Bytes of pages in a frame.
const FRAME: usize = 64 * PAGE as usize;

static FILE: LazyLock<PathBuf> = LazyLock::new(|| pilothouse_fuzz::scratch().join("delta"));

thread_local! {
    /// The RAM, between pages that nothing may write to.
    static MEMORY: RefCell<Vec<u8>> = RefCell::new(vec![0; ((PAGES + 2) * PAGE) as usize]);
}

fuzz_target!(|data: &[u8]| {
    let Some((length, rest)) = data.split_first() else { return };
    let (index, pages) = rest.split_at(rest.len().min(usize::from(*length)));
    let mut framed = b"PLTHDLT2".to_vec();
    for part in std::iter::once(index).chain(pages.chunks(FRAME)) {
        let frame = zstd::bulk::compress(part, 1).expect("bytes in memory");
        framed.extend((frame.len() as u32).to_le_bytes());
        framed.extend(frame);
    }
    for bytes in [data, &framed] {
        fs::write(&*FILE, bytes).expect("the file to be written");
        MEMORY.with_borrow_mut(|memory| {
            let base = memory.as_mut_ptr() as u64 + PAGE;
            let ram = Ram::open(std::process::id(), base, PAGES * PAGE).expect("this process's own memory");
            if let Ok(runs) = ram.load(&FILE) {
                assert!(runs.iter().all(|run| run.count > 0 && run.first + run.count <= PAGES));
            }
            let (before, after) = (&memory[..PAGE as usize], &memory[((PAGES + 1) * PAGE) as usize..]);
            assert!(before.iter().chain(after).all(|byte| *byte == 0));
        });
    }
});
