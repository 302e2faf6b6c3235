//! What is drawn. Reads the state and changes nothing; builds only the rows that are seen.

mod answers;
mod attached;
mod chrome;
mod details;
mod dialogs;
mod diff;
mod environments;
mod form;
mod help;
mod hosts;
mod log;
mod notices;
mod palette;
mod pen;
mod preview;
mod review;
mod sessions;
mod story;
mod terminal;
mod words;

#[cfg(test)]
mod tests;

use ratatui::{Frame, buffer::Buffer, layout::Rect};

use crate::{
    State, Theme,
    dialog::{Answers, Dialog, Reach},
    fuzzy::Search,
    layout::Layout,
    state::View,
    theme::Scope,
};

pub(crate) use help::last as help_last;
pub(crate) use notices::last as notices_last;
use pen::Pen;

/// Draws the whole window.
pub fn view(state: &State, theme: &Theme, frame: &mut Frame) {
    let area = frame.area();
    frame.buffer_mut().set_style(area, theme.style(Scope::Background));
    if let Some(attach) = &state.attach {
        attached::draw(state, attach, theme, frame);
    } else if let Some(log) = &state.log {
        log::draw(state, log, theme, frame);
    } else if let Some(diff) = &state.diff {
        diff::draw(state, diff, theme, frame);
    } else {
        lists(state, theme, frame);
    }
    notices::draw(state, theme, frame);
    match &state.dialog {
        None => {}
        Some(Dialog::Help(top, group)) => help::draw(state, (*top, *group), theme, frame),
        Some(Dialog::Notices(top)) => notices::draw_told(state, *top, theme, frame),
        Some(Dialog::Palette(palette)) => palette::draw(state, palette, theme, frame),
        Some(Dialog::Answers(Answers { name, list, .. })) => {
            answers::draw(state, (&format!("Answer {name}"), "answer"), list, theme, frame);
        }
        Some(Dialog::Reach(Reach { name, list, .. })) => {
            answers::draw(state, (&format!("What may {name} reach?"), "line"), list, theme, frame);
        }
        Some(Dialog::Question(question)) => dialogs::question(state, question, theme, frame),
        Some(Dialog::Form(form)) => form::draw(state, form, theme, frame),
        Some(Dialog::Message(message)) => dialogs::message(state, message, theme, frame),
        Some(Dialog::Keys(keys)) => dialogs::keys(state, keys, theme, frame),
    }
}

/// Number of the last row that the details of what is selected can begin with.
pub(crate) fn details_last(state: &State) -> usize {
    let layout = Layout::of(state);
    let Some(beside) = layout.beside else { return 0 };
    // Drawn nowhere: how many rows there are depends on the area's size alone.
    let (mut nowhere, theme) = (Buffer::empty(Rect::ZERO), Theme::plain());
    let mut pen = Pen::new(&mut nowhere, &theme);
    let height = usize::from(beside.height);
    match state.view {
        View::Review => review::draw_details(state, &layout, beside, &mut pen).saturating_sub(height),
        View::Hosts => hosts::draw_details(state, &layout, beside, &mut pen).saturating_sub(height),
        View::Sessions | View::Crashes => preview::details_last(state, &layout, beside, &mut pen),
        View::Environments => environments::details_last(state, &layout, beside, &mut pen),
    }
}

/// Largest number of events that the story can be scrolled by.
pub(crate) fn story_last(state: &State) -> usize {
    let layout = Layout::of(state);
    layout.beside.map_or(0, |beside| story::last(state, &layout, beside))
}

fn lists(state: &State, theme: &Theme, frame: &mut Frame) {
    let layout = Layout::of(state);
    let mut pen = Pen::new(frame.buffer_mut(), theme);
    chrome::header(state, &layout, &mut pen);
    pen.search = Some(&state.filter().field).filter(|field| !field.is_empty()).map(|field| Search::new(field.text()));
    match state.view {
        View::Sessions => sessions::draw(state, layout.list, &mut pen),
        View::Crashes => sessions::draw_crashes(state, layout.list, &mut pen),
        View::Review => review::draw(state, layout.list, &mut pen),
        View::Hosts => hosts::draw(state, layout.list, &mut pen),
        View::Environments => environments::draw(state, layout.list, &mut pen),
    }
    if let Some(beside) = layout.beside {
        chrome::separator(&layout, &mut pen);
        match state.view {
            View::Sessions | View::Crashes => preview::draw(state, &layout, beside, &mut pen),
            View::Review => drop(review::draw_details(state, &layout, beside, &mut pen)),
            View::Hosts => drop(hosts::draw_details(state, &layout, beside, &mut pen)),
            View::Environments => environments::draw_details(state, &layout, beside, &mut pen),
        }
    }
    let cursor = chrome::footer(state, layout.footer, &mut pen);
    if let Some(cursor) = cursor.filter(|_| state.dialog.is_none()) {
        frame.set_cursor_position(cursor);
    }
}
