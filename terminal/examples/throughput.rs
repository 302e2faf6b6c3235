//! How much slower the engine is with all that stands before it: vt100 alone and the emulator, on the recorded programs and on
//! plain text, in one run. Usage: cargo run --release -p pilothouse-terminal --example throughput

use std::{fs, num::NonZeroU16, path::Path, time::Instant};

use pilothouse_terminal::Emulator;

const BYTES: usize = 32 << 20;
const CHUNK: usize = 16 << 10;

fn main() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut programs = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "bytes") {
            programs.extend(fs::read(entry.path()).unwrap_or_default());
        }
    }
    let text =
        (0..2000).map(|n| format!("{n} the quick brown fox \u{e9}\u{65e5}\u{672c} jumps\r\n")).collect::<String>();
    for (name, input) in [("programs", programs), ("text", text.into_bytes())] {
        let stream: Vec<u8> = input.iter().copied().cycle().take(BYTES).collect();
        let rate = |feed: &mut dyn FnMut(&[u8])| {
            let start = Instant::now();
            stream.chunks(CHUNK).for_each(feed);
            BYTES as f64 / f64::from(1 << 20) / start.elapsed().as_secs_f64()
        };
        let (rows, columns) = (NonZeroU16::MIN.saturating_add(23), NonZeroU16::MIN.saturating_add(79));
        let mut engine = vt100::Parser::new(rows, columns, 3000);
        let alone = rate(&mut |bytes| engine.process(bytes));
        let mut emulator = Emulator::new(80, 24, 3000, 0);
        let ours = rate(&mut |bytes| {
            emulator.feed(bytes);
            emulator.events();
        });
        println!(
            "{name}: vt100 alone {alone:.0} MiB/s, with what stands before it {ours:.0} MiB/s: {:.2} of it",
            ours / alone
        );
    }
}
