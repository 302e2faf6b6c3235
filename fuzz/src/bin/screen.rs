//! What hosts send of terminals, as the console keeps it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tui_core::terminal::Terminal;

fuzz_target!(|data: &[u8]| {
    let [columns, rows, up, bytes @ ..] = data else { return };
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let mut terminal = Terminal::from_screen((*columns).into(), (*rows).into(), first, 50);
    terminal.scroll_to((*up).into());
    terminal.output(second);
    let (columns, rows) = terminal.size();
    for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
        let cell = terminal.screen().cell(row, column).expect("a cell within the screen");
        assert!(!cell.contents().contains(char::is_control));
    }
    terminal.scroll(-1);
    let _ = (terminal.is_blank(), terminal.screen().cursor_position());
});
