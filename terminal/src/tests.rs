//! What the engine lacks, shown on its screen; and viewers that come late.

use proptest::prelude::*;
use rstest::rstest;

use crate::Emulator;

fn emulator(columns: u16, rows: u16, written: &str) -> Emulator {
    let mut emulator = Emulator::new(columns, rows, 100, 0);
    emulator.feed(written.as_bytes());
    emulator
}

/// Rows of text, without blanks at their ends, up to the last that has some.
fn rows(emulator: &Emulator) -> Vec<String> {
    let (columns, rows) = emulator.size();
    let row = |row| {
        let cells = (0..columns).filter_map(|column| emulator.screen().cell(row, column));
        let text: String = cells
            .filter(|cell| !cell.is_wide_continuation())
            .map(|cell| if cell.has_contents() { crate::shown(cell) } else { " ".into() })
            .collect();
        text.trim_end().to_owned()
    };
    let mut all: Vec<String> = (0..rows).map(row).collect();
    all.truncate(all.iter().rposition(|row| !row.is_empty()).map_or(0, |last| last + 1));
    all
}

// As tmux 3.3a and xterm show it.
#[rstest]
#[case::ind("one\x1bDtwo", &["one", "   two"])]
#[case::nel("one\x1bEtwo", &["one", "two"])]
#[case::saved("0%\x1b[s\r\nlog line\x1b[u 100%", &["0% 100%", "log line"])]
#[case::no_wrapping("\x1b[?7labcdefghijklmnopqrstuvwxyz\x1b[?7h!", &["abcdefghijklmnopqrs!"])]
#[case::no_wrapping_wide("\x1b[?7labcdefghijklmnopqrst\u{65e5}\u{672c}", &["abcdefghijklmnopqr\u{672c}"])]
#[case::insertion("world\x1b[1;1H\x1b[4hhello \x1b[4l", &["hello world"])]
#[case::insertion_wraps("next\r\n\x1b[A12345678901234567890\x1b[4h\rx", &["x1234567890123456789", ""])]
#[case::back_tab("\x1b[1;13Hx\x1b[2Zy", &["y           x"])]
#[case::tab_stops("\x1b[3g\x1b[1;5H\x1bH\x1b[1;1H\tx\ty", &["    x              y"])]
#[case::one_stop_less("\x1b[1;9H\x1b[g\r\tx", &["                x"])]
#[case::alternate_1047("main\x1b[?1047h\x1b[Hother\x1b[?1047l", &["main"])]
#[case::alternate_1049_keeps_the_place("ab\r\ncd\x1b[?1049hx", &["", "  x"])]
#[case::back_from_alternate("ab\x1b[31m\x1b[?1049hx\x1b[5;5H\x1b7\x1b[?1049lc", &["abc"])]
#[case::up_from_a_full_row("top\r\n12345678901234567890\x1b[AZ", &["top                Z", "12345678901234567890"])]
#[case::back_from_a_full_row("12345678901234567890\x08Z", &["123456789012345678Z0"])]
#[case::line_drawing("\x1b(0lqk\x1b(B l\x1b)0\x0ex\x0fx", &["\u{250c}\u{2500}\u{2510} l\u{2502}x"])]
#[case::single_shift("\x1b*0\x1bNqq", &["\u{2500}q"])]
#[case::replacement("caf\u{fffd} cr\u{fffd}me|", &["caf\u{fffd} cr\u{fffd}me|"])]
#[case::latin_1_is_replaced("a\u{fffd}|", &["a\u{fffd}|"])]
#[case::repeated("ab\x1b[3bc", &["abbbbc"])]
#[case::repeated_lines("\x1b(0q\x1b[3b", &["\u{2500}\u{2500}\u{2500}\u{2500}"])]
#[case::new_lines("\x1b[20hab\ncd\x1b[20lx\ny", &["ab", "cdx", "   y"])]
#[case::soft_reset("\x1b[2;3r\x1b[4h\x1b[?7l\x1b(0\x1b[!p\x1b[Hq", &["q"])]
#[case::region_homes("\x1b[5;5H\x1b[2;3rx", &["x"])]
#[case::up_above_a_region("a\r\nb\r\nc\x1b[2;3r\x1b[1;1H\x1bMx", &["x", "b", "c"])]
#[case::row_in_a_region("\x1b[2;4r\x1b[?6h\x1b[2dx", &["", "", "x"])]
#[case::strings_show_nothing("a\x1bPq##\x1b\\\x1b_G1;2\x1b\\\x1b]133;A\x07b", &["ab"])]
fn the_engine_lacks_nothing_of(#[case] written: &str, #[case] shown: &[&str]) {
    let shown: Vec<&str> = shown.iter().rev().skip_while(|row| row.is_empty()).copied().collect();
    let mut seen = rows(&emulator(20, 6, written));
    seen.reverse();
    assert_eq!(seen, shown);
}

#[test]
fn what_is_no_text_takes_a_column() {
    let mut emulator = Emulator::new(20, 2, 0, 0);
    emulator.feed(b"caf\xe9 br\xfbl\xe9e|");
    assert_eq!(rows(&emulator), ["caf\u{fffd} br\u{fffd}l\u{fffd}e|"]);
}

#[test]
fn blank_cells_have_the_background_alone() {
    let written =
        "\x1b[4;7;44m\x1b[2J\x1b[3;1H\n\x1b[m\x1b[41m\x1b[6;1H\n\x1b[42m\x1b[1;1H\x1b[L\x1b[43m\x1b[2;5H\x1b[@";
    let emulator = emulator(10, 6, written);
    let colour = |row, column| {
        let cell = emulator.screen().cell(row, column).unwrap();
        assert!(!cell.underline() && !cell.inverse());
        cell.bgcolor()
    };
    let expected = [2, 4, 4, 4, 4, 4].map(vt100::Color::Idx);
    assert_eq!([0, 1, 2, 3, 4, 5].map(|row| colour(row, 0)), expected);
    assert_eq!((colour(1, 4), colour(5, 9)), (vt100::Color::Idx(3), vt100::Color::Idx(4)));
}

#[test]
fn a_row_that_text_scrolls_in_is_coloured() {
    let emulator = emulator(10, 3, "\x1b[3;1H\x1b[44m1234567890ab");
    let colours: Vec<_> = (0..10).map(|column| emulator.screen().cell(2, column).unwrap().bgcolor()).collect();
    assert_eq!(colours, [vt100::Color::Idx(4); 10]);
}

#[test]
fn a_narrow_window_cuts_nothing() {
    let text = "a line of some length, in all 43 characters";
    let mut emulator = emulator(50, 6, &format!("$ show\r\n{text}\r\n\x1b[31mred\x1b[m $ "));
    emulator.resize(12, 6);
    assert_eq!(rows(&emulator)[2..], ["me length, i", "n all 43 cha", "racters", "red $"]);
    assert_eq!(emulator.screen().cursor_position(), (5, 6));
    emulator.resize(50, 6);
    assert_eq!(rows(&emulator), ["$ show", text, "red $"]);
    assert_eq!(emulator.screen().cursor_position(), (2, 6));
    assert_eq!(emulator.screen().cell(2, 0).unwrap().fgcolor(), vt100::Color::Idx(1));
    emulator.feed(b"x");
    assert_eq!(rows(&emulator)[2], "red $ x");
}

#[test]
fn what_is_struck_stays_so_in_other_widths_and_in_the_history() {
    let mut emulator = Emulator::new(20, 3, 100, 0);
    emulator.feed(b"kept \x1b[9mstruck out \x1b[4:3mcurly\x1b[m plain\r\n1\r\n2\r\n3");
    emulator.resize(9, 3);
    emulator.resize(40, 3);
    emulator.scroll_to(1);
    let seen =
        |column| emulator.screen().cell(0, column).map(|cell| (crate::shown(cell), emulator.pen_of(cell).has(9)));
    assert_eq!([4, 5, 15, 17, 22].map(|column| seen(column).unwrap().1), [false, true, true, true, false]);
    assert_eq!(seen(17).unwrap().0, "u");
    let mut late = Emulator::new(40, 3, 100, 0);
    late.feed(&emulator.draw(100).bytes);
    late.scroll_to(1);
    for column in 0..40 {
        let look = |emulator: &Emulator| emulator.screen().cell(0, column).map(|cell| look(emulator, cell));
        assert_eq!(look(&late), look(&emulator), "column {column}");
    }
}

#[test]
fn history_is_broken_anew_too_and_stays_above() {
    let mut emulator = Emulator::new(30, 3, 100, 0);
    for n in 0..20 {
        emulator.feed(format!("{n} twenty-five characters..\r\n").as_bytes());
    }
    emulator.feed(b"\x1b[2J\x1b[Hclear");
    for (columns, rows_of_history) in [(12, 54), (30, 18)] {
        emulator.resize(columns, 3);
        assert_eq!(emulator.screen().scrollback_len(), rows_of_history, "{columns} columns");
        assert_eq!((rows(&emulator), emulator.screen().cursor_position()), (vec!["clear".to_owned()], (0, 5)));
    }
    emulator.scroll_to(1);
    assert_eq!(rows(&emulator)[0], "17 twenty-five characters..");
}

#[test]
fn behind_an_alternate_screen_nothing_is_cut() {
    let mut emulator =
        emulator(30, 5, "a line of twenty-nine letters\r\n$ vi\x1b[?1049h\x1b[2;4H\x1b[1mediting\x1b[?2004h\x1b[?7l");
    emulator.resize(12, 5);
    assert_eq!(rows(&emulator), ["", "   editing"]);
    emulator.resize(30, 5);
    assert!(emulator.screen().bracketed_paste() && emulator.screen().cell(1, 4).unwrap().bold());
    emulator.feed(b"\x1b[?1049l!");
    assert_eq!(rows(&emulator), ["a line of twenty-nine letters", "$ vi!"]);
}

/// What a viewer has that draws an emulator on an empty terminal.
fn late(emulator: &mut Emulator) -> Emulator {
    let (columns, rows) = emulator.size();
    let mut late = Emulator::new(columns, rows, 100, 0);
    late.feed(&emulator.draw(0).bytes);
    late.events();
    late
}

#[rstest]
#[case::region("\x1b[1;4r\x1b[6;1HProgress: [ 50%]\x1b[1;1H", "1\r\n2\r\n3\r\n4\r\n5\r\n6\r\n7")]
#[case::saved("status: \x1b7", "\x1b[5;1Hbelow\x1b8ready")]
#[case::saved_while_waiting_to_wrap("123456789012345678901234567890\x1b7\x1b[3;1H", "\x1b8x")]
#[case::saved_while_a_wide_one_waits("\x1b[31m1234567890123456789012345678\u{65e5}\x1b7\x1b[3;1H\x1b[m", "\x1b8x")]
#[case::saved_with_origin_while_waiting("\x1b[2;5r\x1b[?6h123456789012345678901234567890\x1b7\x1b[1;1H", "\x1b8x")]
#[case::saved_behind_what_scrolled("\x1b[9;62Hx\x1b74", "\x1b8qqq")]
#[case::saved_behind_what_scrolled_and_is_again("\x1b[9;62Hx\x1b74", "\x1b[6;30Hy\x1b8qqq")]
#[case::saved_outside_of_the_margins("\x1b[?6h\x1b7\x1b[3r", "\x1b[r\x1b8x")]
#[case::saved_before_a_single_shift("\x1b*0\x1bN\x1b7qq", "\x1b8qq")]
#[case::saved_pen("\x1b[31m\x1b(0\x1b7\x1b[m\x1b(B", "\x1b8qq")]
#[case::origin("\x1b[3;5r\x1b[?6h", "\x1b[1;1Hat home")]
#[case::origin_saved("\x1b[3;5r\x1b[?6h\x1b[2;2H\x1b7\x1b[?6l\x1b[1;1H", "\x1b8x\x1b[1;1Hy")]
#[case::origin_saved_outside("\x1b[?6h\x1b7\x1b[4r\x1b8", "x\x1b[A\r\ny")]
#[case::origin_saved_below("\x1b[?6h\x1b[6H\x1b7\x1b[1;4r\x1b8", "x\x1b[A\r\ny")]
#[case::main_screen("$ make test\r\nall 12 passed\r\n\x1b[?1049h\x1b[Hpager", "\x1b[?1049l$ ")]
#[case::main_by_47("$ make\x1b[?47h\x1b[Hpager", "\x1b[?47l$ ")]
#[case::waiting_to_wrap("123456789012345678901234567890", "x")]
#[case::charsets("\x1b(0\x1b)B\x0e\x0f", "qq\x0eqq")]
#[case::no_wrapping("\x1b[?7l", "1234567890123456789012345678901234567890")]
#[case::insertion("world\r\x1b[4h", "hello ")]
#[case::tab_stops("\x1b[3g\x1b[1;5H\x1bH\r", "\tx")]
#[case::pen("\x1b[1;38;5;200m", "x")]
#[case::keyboards(
    "\x1b[>1u\x1b[>3u\x1b[?1049h\x1b[>5u\x1b[>7u",
    "\x1b[?u\x1b[<u\x1b[?u\x1b[<2u\x1b[?u\x1b[?1049l\x1b[?u\x1b[<u\x1b[?u"
)]
#[case::keyboard_of_the_hidden_screen("\x1b[?1049h\x1b[>1u\x1b[?1049l", "\x1b[?1049h\x1b[?u")]
#[case::hidden_screen("\x1b[?47h\x1b[2;2HABC\x1b7\x1b[?47l", "\x1b[?47h\x1b8x")]
#[case::modes(
    "\x1b[?1004;2026;2031;2048;1016;1015;5;45;1007h\x1b[20h\x1b[>4;2m",
    "\x1b[?4m\x1b[?2026$p\x1b[?1004$p\x1b[20$p"
)]
#[case::mouse("\x1b[?1003;1006h\x1b[?1h\x1b=\x1b[5 q\x1b[?25l", "x")]
#[case::title("\x1b]2;a title\x07", "")]
#[case::struck("a \x1b[9mstruck\x1b[m, \x1b[5mblinking\x1b[25m, \x1b[31;53mred below a line\x1b[m b", "x")]
#[case::underlines(
    "\x1b[4:3;58;2;255;0;7mcurly\x1b[4:2m double\x1b[59;4m plain\x1b[58;5;4m blue\x1b[24m none",
    "\x1b[4mx"
)]
#[case::struck_and_moved("\x1b[9mold line\x1b[m\r\n\x1b[1;1H\x1b[2@\x1b[L\x1b[2;5H\x1b[31mred", "x")]
#[case::struck_and_wide("\x1b[9m\u{65e5}e\u{301}\u{1f600}\x1b[4hx\x1b[4l\r\x1b[1P", "x")]
#[case::struck_behind_another_screen("\x1b[9mmain\x1b[?1049h\x1b[8mother", "\x1b[?1049lx")]
#[case::struck_at_the_edge("\x1b[9m123456789012345678901234567890", "x")]
#[case::struck_and_cut("\x1b[?7l\x1b[9m12345678901234567890123456789012", "x")]
#[case::repeated("ab-", "\x1b[5b\x1b[5bx")]
#[case::repeated_after_a_single_shift("\x1bN\x1b(0q", "\x1b[2bq")]
#[case::repeated_wide("\u{65e5}", "\x1b[2b")]
#[case::repeated_at_the_edge("123456789012345678901234567890", "\x1b[3bx")]
#[case::repeated_without_wrapping("\x1b[?7l1234567890123456789012345678901", "\x1b[3b")]
#[case::repeated_inserted("tail\r\x1b[4h\x1b[31mx", "\x1b[2b")]
#[case::repeated_in_margins("\x1b[3;5r\x1b[?6h\x1b(0\x1b[2;1Hq", "\x1b[8b")]
#[case::repeated_struck("\x1b[9;4:3mx", "\x1b[3b")]
#[case::repeated_after_a_move("x\x1b[5G", "\x1b[3by")]
#[case::repeated_in_pieces("ab\x1b[1", "0b")]
#[case::unfinished_sequence("\x1b[3", "1mred")]
#[case::unfinished_character("\u{20ac}", "x")]
#[case::replacement("a\u{fffd}b", "c")]
fn who_comes_late_sees_the_same(#[case] before: &str, #[case] after: &str) {
    let mut all = emulator(30, 6, before);
    let mut late = late(&mut all);
    all.events();
    all.feed(after.as_bytes());
    late.feed(after.as_bytes());
    same(&mut all, &mut late);
}

/// Compares everything that a program or a person could tell apart.
fn same(one: &mut Emulator, other: &mut Emulator) {
    assert_eq!(rows(one), rows(other));
    assert_eq!(one.events(), other.events());
    let (columns, rows) = one.size();
    for row in 0..rows {
        for column in 0..columns {
            let (a, b) = (one.screen().cell(row, column).unwrap(), other.screen().cell(row, column).unwrap());
            assert_eq!(look(one, a), look(other, b), "row {row}, column {column}");
        }
    }
    assert_eq!(one.screen().cursor_position(), other.screen().cursor_position());
    // Once more each, since blank cells that the engine left by itself have attributes that nobody draws.
    let drawn = |emulator: &mut Emulator| String::from_utf8_lossy(&late(emulator).draw(0).bytes).into_owned();
    assert_eq!(drawn(one), drawn(other));
}

fn look(emulator: &Emulator, cell: &vt100::Cell) -> (String, crate::pen::Pen) {
    let text = if cell.has_contents() || cell.is_wide_continuation() { crate::shown(cell) } else { "".into() };
    let pen = emulator.pen_of(cell);
    (text.clone().into_owned(), if text.is_empty() { pen.blank() } else { pen })
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "[a-z\u{e9}\u{20ac}\u{1f600} ]{0,24}".prop_map(String::into_bytes),
        2 => "[\r\n\t\x08\x0e\x0f]{1,3}".prop_map(String::into_bytes),
        2 => ("\x1b\\[[0-9]{0,2}(;[0-9]{1,2})?", "[ABCDEFGHIJKLMPSTXZ@`abdefghlrsu]").prop_map(|(a, b)| (a + &b).into_bytes()),
        2 => ("\x1b\\[[0-9;:]{0,12}", "m").prop_map(|(a, b)| (a + &b).into_bytes()),
        1 => prop::sample::select(vec![
            "\x1b7", "\x1b8", "\x1bD", "\x1bE", "\x1bM", "\x1bH", "\x1b[3g", "\x1b[r", "\x1b[2;4r", "\x1b[?6h", "\x1b[?6l",
            "\x1b[?7l", "\x1b[?7h", "\x1b[4h", "\x1b[4l", "\x1b[20h", "\x1b[?1049h", "\x1b[?1049l", "\x1b[?1047h",
            "\x1b[?1047l", "\x1b[?47h", "\x1b[?47l", "\x1b(0", "\x1b(B", "\x1b)0", "\x1bN", "\x1b*0", "\x1bn", "\x1b[!p",
            "\x1b[?1004h", "\x1b[?2004h", "\x1b[>1u", "\x1b[<u", "\x1b[=3u", "\x1b[>4;2m", "\x1b[?25l", "\x1b[6n",
            "\x1b]2;title\x07", "\x1b#8", "\x1bPq~~\x1b\\", "\x1b[?2026h", "\x1bc",
        ]).prop_map(|text| text.as_bytes().to_vec()),
    ]
}

#[rstest]
#[case::narrow("\x1b[?6h12345678901234567", "x")]
#[case::wide("\x1b[?6h\x1b[1m123456789012345\u{65e5}", "x")]
#[case::in_margins("\x1b[3;5r\x1b[?6h\x1b[2;1H12345678901234567", "x")]
fn who_comes_while_the_cursor_waits_to_wrap_sees_it_wrap_in_origin_mode(#[case] before: &str, #[case] after: &str) {
    let mut all = Emulator::new(17, 6, 50, 0);
    all.feed(before.as_bytes());
    let mut late = late(&mut all);
    all.feed(after.as_bytes());
    late.feed(after.as_bytes());
    same(&mut all, &mut late);
}

#[rstest]
#[case::bold_after_dim("\x1b[2mdim\x1b[0;1mbold")]
#[case::dim_after_bold_and_a_colour("\x1b[1mbold\x1b[0;2;38;5;1mdim\x1b[0;38;2;1;2;1mcolour")]
fn who_comes_sees_bold_and_dim_apart(#[case] text: &str) {
    let mut all = Emulator::new(17, 6, 50, 0);
    all.feed(text.as_bytes());
    let mut late = late(&mut all);
    same(&mut all, &mut late);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 400 } else { 4000 }))]

    /// Wherever the stream is cut, even inside a sequence: who comes there sees what those see who saw all of it.
    #[test]
    fn a_viewer_may_come_at_any_time(pieces in prop::collection::vec(piece(), 0..30), cut in 0_usize..600) {
        let stream = pieces.concat();
        let cut = cut.min(stream.len());
        let mut all = Emulator::new(17, 6, 50, 0);
        all.feed(&stream[..cut]);
        all.events();
        let mut late = late(&mut all);
        all.feed(&stream[cut..]);
        late.feed(&stream[cut..]);
        same(&mut all, &mut late);
    }

    /// Whatever is written and however it is resized: the engine never panics, and text goes on.
    #[test]
    fn nothing_breaks_it(steps in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..24), prop::collection::vec(piece(), 0..6), 1_u16..24, 1_u16..12), 0..12)) {
        let mut emulator = Emulator::new(20, 5, 30, 100);
        for (bytes, pieces, columns, rows) in steps {
            emulator.feed(&bytes);
            emulator.feed(&pieces.concat());
            emulator.resize(columns, rows);
            let _ = emulator.draw(10);
            prop_assert!(!emulator.screen().contents().contains("was reset"));
        }
        emulator.resize(30, 3);
        emulator.feed(b"\x18\x1bcstill here");
        prop_assert_eq!(rows(&emulator), ["still here"]);
    }

    /// However narrow the window was meanwhile, no text is lost.
    #[test]
    fn text_survives_any_width(lines in prop::collection::vec("[a-z]{0,40}", 1..6), widths in prop::collection::vec(3_u16..60, 0..5)) {
        let mut emulator = Emulator::new(50, 40, 400, 0);
        emulator.feed(lines.join("\r\n").as_bytes());
        let before = (rows(&emulator), emulator.screen().cursor_position());
        for width in widths {
            emulator.resize(width, 40);
        }
        emulator.resize(50, 40);
        prop_assert_eq!(before, (rows(&emulator), emulator.screen().cursor_position()));
    }
}
