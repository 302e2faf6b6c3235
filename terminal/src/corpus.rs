//! What recorded programs wrote, drawn cell by cell as tmux and xterm drew it; and to viewers who come in the middle of it.

use std::{fs, path::Path};

use crate::Emulator;

const COLUMNS: u16 = 80;
const ROWS: u16 = 24;

/// Rows at which the engine cannot be brought to tmux's cells: file, row, and why.
const OTHERWISE: [(&str, usize, &str); 0] = [];

fn recordings() -> Vec<(String, Vec<u8>, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut all: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "bytes"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, fs::read(&path).unwrap(), fs::read_to_string(path.with_extension("screen")).unwrap())
        })
        .collect();
    all.sort();
    assert!(all.len() >= 17, "recordings are missing");
    all
}

fn color(name: &str, color: vt100::Color) -> Option<String> {
    match color {
        vt100::Color::Default => None,
        vt100::Color::Idx(n) => Some(format!("{name}={n}")),
        vt100::Color::Rgb(r, g, b) => Some(format!("{name}=#{r:02x}{g:02x}{b:02x}")),
    }
}

/// Style of a cell in the words of record.py, sorted.
fn style(cell: &vt100::Cell) -> String {
    let on = |name: &str, on: bool| on.then(|| name.to_owned());
    let words = [
        color("bg", cell.bgcolor()),
        on("bold", cell.bold()),
        on("dim", cell.dim()),
        color("fg", cell.fgcolor()),
        on("inverse", cell.inverse()),
        on("italic", cell.italic()),
        on("underline", cell.underline()),
    ];
    words.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// The cursor, and for each row its text and the style of each cell.
fn screen(emulator: &Emulator) -> (String, Vec<(String, Vec<String>)>) {
    let screen = emulator.screen();
    let (row, column) = screen.cursor_position();
    let rows = (0..ROWS).map(|row| {
        let (mut text, mut styles) = (String::new(), Vec::<String>::new());
        for column in 0..COLUMNS {
            let cell = screen.cell(row, column).unwrap();
            if cell.is_wide_continuation() {
                styles.push(styles.last().cloned().unwrap_or_default());
            } else {
                text.push_str(&if cell.has_contents() { crate::shown(cell) } else { " ".into() });
                styles.push(style(cell));
            }
        }
        (text.trim_end().to_owned(), styles)
    });
    (format!("{column} {row}"), rows.collect())
}

/// A row of this number of cells, as record.py writes it.
fn written(text: &str, styles: &[String], cells: usize) -> [String; 2] {
    let styles = &styles[..cells];
    let mut runs = Vec::new();
    let mut first = 0;
    for at in 1..=cells {
        if styles.get(at) != styles.get(first) {
            if !styles[first].is_empty() {
                runs.push(format!("{first}-{} {}", at - 1, styles[first]));
            }
            first = at;
        }
    }
    [format!("|{text}"), format!("~{cells} {}", runs.join(", "))]
}

fn emulator() -> Emulator {
    Emulator::new(COLUMNS, ROWS, 100, 0)
}

/// Where the engine cannot be brought to xterm's cells: file, row, and why.
const OTHERWISE_IN_XTERM: [(&str, usize, &str); 0] = [];

/// What xterm tells of a cell's look, sorted.
fn attributes(emulator: &Emulator, row: u16, column: u16) -> String {
    let Some(cell) = emulator.screen().cell(row, column) else { return String::new() };
    if cell.is_wide_continuation() {
        return attributes(emulator, row, column.saturating_sub(1));
    }
    let look = emulator.look(cell);
    let words = [
        (look.blinks, "blink"),
        (cell.bold(), "bold"),
        (look.hidden, "hidden"),
        (cell.inverse(), "inverse"),
        (cell.underline(), "underline"),
    ];
    words.into_iter().filter(|(on, _)| *on).map(|(_, word)| word).collect::<Vec<_>>().join(" ")
}

#[test]
fn programs_are_drawn_as_xterm_draws_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut differing = Vec::new();
    for (name, bytes, _) in recordings() {
        let mut emulator = emulator();
        emulator.feed(&bytes);
        let (cursor, rows) = screen(&emulator);
        let expected = fs::read_to_string(folder.join(format!("{name}.xterm"))).unwrap();
        let mut lines = expected.lines();
        let mut compare = |at: usize, ours: &str, xterm: &str| {
            if ours != xterm && !OTHERWISE_IN_XTERM.iter().any(|(other, row, _)| *other == name && *row == at) {
                differing.push(format!("{name}, row {at}:\n  ours  {ours}\n  xterm {xterm}"));
            }
        };
        compare(0, &cursor, lines.next().unwrap());
        for (at, (text, _)) in (0..).zip(&rows) {
            let looks: Vec<String> = (0..COLUMNS).map(|column| attributes(&emulator, at, column)).collect();
            for ours in written(text, &looks, COLUMNS.into()) {
                compare(usize::from(at) + 1, &ours, lines.next().unwrap());
            }
        }
    }
    assert!(differing.is_empty(), "{} rows differ:\n{}", differing.len(), differing.join("\n"));
}

#[test]
fn programs_are_drawn_as_tmux_draws_them() {
    let mut differing = Vec::new();
    for (name, bytes, expected) in recordings() {
        let mut emulator = emulator();
        emulator.feed(&bytes);
        let (cursor, rows) = screen(&emulator);
        let mut lines = expected.lines();
        let mut compare = |at: usize, ours: &str, tmux: &str| {
            if ours != tmux && !OTHERWISE.iter().any(|(other, row, _)| *other == name && *row == at) {
                differing.push(format!("{name}, row {at}:\n  ours {ours}\n  tmux {tmux}"));
            }
        };
        // A cursor that waits to wrap stands behind the last column here and there.
        compare(0, &cursor, lines.next().unwrap());
        for (at, (text, styles)) in rows.iter().enumerate() {
            let expected = [lines.next().unwrap(), lines.next().unwrap()];
            let cells = expected[1][1..].split(' ').next().unwrap().parse::<usize>().unwrap();
            for (ours, tmux) in written(text, styles, cells).iter().zip(expected) {
                compare(at + 1, ours, tmux);
            }
            // Behind them there is nothing but a colour.
            assert!(
                styles[cells..]
                    .iter()
                    .all(|style| style.is_empty() || style.starts_with("bg=") && !style.contains(' '))
            );
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn who_comes_in_the_middle_sees_what_all_see() {
    for (name, bytes, _) in recordings() {
        let mut all = emulator();
        all.feed(&bytes);
        let expected = screen(&all);
        for part in 1..16 {
            let cut = bytes.len() * part / 16;
            let mut before = emulator();
            before.feed(&bytes[..cut]);
            let mut late = emulator();
            late.feed(&before.draw(50).bytes);
            late.feed(&bytes[cut..]);
            assert_eq!(screen(&late), expected, "{name}, from byte {cut} of {}", bytes.len());
        }
    }
}
