//! What a program writes to its terminal, to those who see all of it and to one that comes late.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pilothouse_terminal::{Emulator, shown};

/// What everybody must see alike.
fn seen(emulator: &Emulator) -> (Vec<String>, (u16, u16), u8, bool) {
    let (columns, rows) = emulator.size();
    let text = |row| {
        let cells = (0..columns).filter_map(|column| emulator.screen().cell(row, column));
        let cells = cells.map(|cell| if cell.has_contents() { shown(cell) } else { " ".into() });
        cells.collect::<String>().trim_end().to_owned()
    };
    let rows = (0..rows).map(text).collect();
    (rows, emulator.screen().cursor_position(), emulator.keyboard_flags(), emulator.mode(7))
}

fuzz_target!(
    // The emulator catches its engine's panics, and says so on its screen.
    init: std::panic::set_hook(Box::new(|_| {})),
    |data: &[u8]| {
        let [columns, rows, cut, bytes @ ..] = data else { return };
        let (columns, rows) = (1 + u16::from(*columns) % 60, 1 + u16::from(*rows) % 20);
        let cut = bytes.len() * usize::from(*cut) / 255;
        let mut all = Emulator::new(columns, rows, 50, 1000);
        let passed = all.feed_through(&bytes[..cut], false);
        assert!(!passed.windows(5).any(|part| part == b"\x1b]52;"), "a copy passes");
        let mut late = Emulator::new(columns, rows, 50, 1000);
        late.feed(&all.draw(10).bytes);
        let gave_up = |emulator: &Emulator| emulator.screen().contents().contains("was reset");
        if columns > 2 && rows > 1 && !gave_up(&all) {
            all.feed(&bytes[cut..]);
            late.feed(&bytes[cut..]);
            assert!(gave_up(&all) || seen(&all) == seen(&late), "who comes late sees something else");
        }
        all.resize(rows, columns);
        all.resize(columns, rows);
        let (before, after) = all.cursor_row();
        assert!(!before.contains(char::is_control) && !after.contains(char::is_control));
        all.feed(b"\x18\x1bcx");
        assert_eq!(seen(&all).0[0], "x");
    }
);
