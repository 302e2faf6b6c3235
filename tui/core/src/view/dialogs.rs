//! Questions and messages.

use ratatui::{Frame, layout::Rect};

use super::pen::Pen;
use crate::{
    Command, State, Theme,
    dialog::{Keys, Message, Question, Target},
    draft::Place,
    key, text,
    theme::Scope,
};

/// An area of this size in the middle of the window, or as much of it as there is.
pub(super) fn middle(state: &State, wide: u16, high: u16) -> Rect {
    let (width, height) = state.size;
    let (wide, high) = (wide.min(width.saturating_sub(2)), high.min(height));
    Rect { x: (width - wide) / 2, y: (height - high) * 2 / 5, width: wide, height: high }
}

pub(super) fn question(state: &State, question: &Question, theme: &Theme, frame: &mut Frame) {
    let lines = text::wrap(&question.text, usize::from(state.size.0).saturating_sub(8).clamp(10, 62));
    let high = u16::try_from(lines.len()).unwrap_or(4) + 4;
    let mut pen = Pen::new(frame.buffer_mut(), theme);
    let area = pen.boxed(middle(state, 68, high), &question.title, Scope::DialogDanger, Scope::DialogDanger);
    for (n, line) in (0..).zip(&lines) {
        pen.line(area, n).put(line, Scope::Dialog);
    }
    let row = area.height.saturating_sub(1);
    let mut line = pen.line(area, row);
    if question.show.is_some() {
        let keys = state.keymap.keys_for(Command::ShowNewer, state.conditions()).map(|keys| key::chord(&keys));
        line.put(&keys.unwrap_or_default(), Scope::Key).put(" show what changed", Scope::Dialog).skip(3);
        line.put("y", Scope::DialogDanger).put(" send anyway", Scope::Dialog).skip(3);
        line.put("n", Scope::Key).put(" neither", Scope::Dialog);
    } else {
        line.put("y", Scope::DialogDanger).put(" yes, do it", Scope::Dialog).skip(3);
        line.put("n", Scope::Key).put(" no", Scope::Dialog);
    }
}

/// Title, and what an empty text stands for.
fn titles(message: &Message) -> (String, &'static str) {
    let name = &message.name;
    match &message.target {
        Target::Session(_) => (format!("Message to {name}"), "typed into its terminal, with Enter"),
        Target::Place { place: Place::Line { .. }, .. } => {
            (format!("Comment on {name}"), "kept, and sent with your verdict; empty: none")
        }
        Target::Place { place: Place::Thread(_), .. } => {
            (format!("Answer in {name}"), "kept, and sent with your verdict; empty: none")
        }
        Target::Pull { verdict: "comment", .. } => (format!("Comment on {name}"), "what reviewer and agent read"),
        Target::Pull { verdict: "approve", .. } => (format!("Approve {name}"), "what is said with it; may be empty"),
        Target::Pull { .. } => (format!("Request changes to {name}"), "what must change before a merge"),
    }
}

fn hint_of(message: &Message) -> &'static str {
    match message.target {
        Target::Session(_) => "enter send   ctrl-j new line   esc back, the text stays",
        Target::Pull { .. } => "enter send   esc put away (kept)",
        Target::Place { .. } => "enter keep   esc put away (kept as unfinished)",
    }
}

/// Whether what was drafted goes along; empty where nothing was.
fn along(state: &State, message: &Message) -> String {
    let Target::Pull { key, along, .. } = &message.target else { return String::new() };
    let count = state.drafts.get(key).map_or(0, |draft| draft.finished().len());
    let keys = state.keymap.keys_for(Command::TakeAlong, state.conditions()).map(|keys| key::chord(&keys));
    let keys = keys.unwrap_or_default();
    match (count, along) {
        (0, _) => String::new(),
        (_, true) => format!("{} along   {keys} leaves {} here", go(count), if count == 1 { "it" } else { "them" }),
        (_, false) => {
            let comments = text::count(count, "drafted comment");
            format!("{comments} left here   {keys} takes {} along", if count == 1 { "it" } else { "them" })
        }
    }
}

fn go(count: usize) -> String {
    format!("{} go{}", text::count(count, "drafted comment"), if count == 1 { "es" } else { "" })
}

/// Most rows of a text that is written in a dialog.
const TEXT_ROWS: usize = 10;

pub(super) fn message(state: &State, message: &Message, theme: &Theme, frame: &mut Frame) {
    let mut pen = Pen::new(frame.buffer_mut(), theme);
    let (title, mut hint) = titles(message);
    if let Target::Session(key) = &message.target
        && state.fleet.session(key).is_some_and(|session| !session.choices.is_empty())
    {
        hint = "up and down choose an offered answer";
    }
    let along = along(state, message);
    let width = middle(state, 76, 6).width.saturating_sub(4);
    let (rows, (row, column)) = message.field.rows(width.into());
    let high = rows.len().clamp(1, TEXT_ROWS);
    let area = middle(state, 76, u16::try_from(high + 5 + usize::from(!along.is_empty())).unwrap_or(6));
    let area = pen.boxed(area, &title, Scope::DialogBorder, Scope::DialogTitle);
    let high = high.min(usize::from(area.height.saturating_sub(2)).max(1));
    let field =
        Rect { y: area.y + 1, height: u16::try_from(high).unwrap_or(1).min(area.height.saturating_sub(1)), ..area };
    pen.style(field, Scope::FieldFocus);
    // The cursor's row is seen.
    let first = (row + 1).saturating_sub(high);
    for (n, text) in (0..field.height).zip(rows.iter().skip(first)) {
        pen.line(field, n).put(text, Scope::FieldFocus);
    }
    if message.field.is_empty() {
        pen.line(field, 0).put(hint, Scope::Placeholder);
    }
    let last = area.height.saturating_sub(1);
    if !along.is_empty() && area.height > 3 {
        pen.line(area, last - 1).put(&along, Scope::StateAsks);
    }
    foot(message.error.as_deref(), message.sending.is_some(), hint_of(message), area, last, &mut pen);
    let (x, y) = (field.x + u16::try_from(column).unwrap_or(0), field.y + u16::try_from(row - first).unwrap_or(0));
    if x < area.right() && !field.is_empty() && y < field.bottom() {
        frame.set_cursor_position((x, y));
    }
}

pub(super) fn keys(state: &State, keys: &Keys, theme: &Theme, frame: &mut Frame) {
    let mut pen = Pen::new(frame.buffer_mut(), theme);
    let area = middle(state, 76, 6);
    let area = pen.boxed(area, &format!("Keys for {}", keys.name), Scope::DialogBorder, Scope::DialogTitle);
    let field = Rect { y: area.y + 1, height: 1.min(area.height.saturating_sub(1)), ..area };
    pen.style(field, Scope::FieldFocus);
    match keys.sent.is_empty() {
        true => {
            pen.line(field, 0).put("each key that you press goes to its terminal", Scope::Placeholder);
        }
        false => {
            // The last ones are what matters.
            let mut sent = keys.sent.join(" ");
            while text::width(&sent) > usize::from(field.width) {
                sent = sent.split_once(' ').map_or_else(String::new, |(_, rest)| rest.to_owned());
            }
            pen.line(field, 0).put(&sent, Scope::FieldFocus);
        }
    }
    let back = state.keymap.keys_for(Command::Back, state.conditions()).map(|keys| crate::key::chord(&keys));
    let hint = back.map_or_else(String::new, |keys| format!("{keys} back"));
    foot(keys.error.as_deref(), false, &hint, area, area.height.saturating_sub(1), &mut pen);
}

/// The last row of a dialog: an error, or that it is under way, or what the keys do.
pub(super) fn foot(error: Option<&str>, sending: bool, hint: &str, area: Rect, row: u16, pen: &mut Pen) {
    let room = usize::from(area.width);
    match (sending, error) {
        (true, _) => pen.line(area, row).put("sending …", Scope::StateBusy),
        (false, Some(error)) => pen.line(area, row).put(&text::fit(error, room), Scope::StateBad),
        (false, None) => pen.line(area, row).put(hint, Scope::Dim),
    };
}
