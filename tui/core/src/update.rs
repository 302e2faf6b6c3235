//! What changes: one action in, effects out.

mod builds;
mod calls;
mod checks;
mod commands;
mod diffs;
mod drafts;
mod input;
mod keys;
mod lists;
mod reports;
mod reviews;
mod stories;
mod terminals;
mod typing;

#[cfg(test)]
mod tests;

use crate::{Action, Effect, Millis, State, dialog::Dialog, key, notice::Kind};

/// Carries out one action. `now` never goes back what is shown; it may come from a wall clock.
pub fn update(state: &mut State, action: Action, now: Millis) -> Vec<Effect> {
    state.now = now;
    state.notices.age(now);
    if let Action::Pend(key) = action {
        state.pending.push(key);
        state.visible = true;
        return Vec::new();
    }
    let keys = match action {
        // Time and news do not break a chord.
        Action::Reports(_)
        | Action::Tick
        | Action::Mouse(_)
        | Action::Resized(..)
        | Action::Focused(_)
        | Action::Ending => None,
        _ => Some(std::mem::take(&mut state.pending)),
    };
    let text = matches!(action, Action::Type(_) | Action::Paste(_));
    match action {
        Action::Run(command) => state.run(command, &keys.unwrap_or_default()),
        Action::Unbound(keys) => state.unbound(&keys),
        Action::Type(key) => state.typed(key),
        Action::Paste(text) => state.pasted(&text),
        Action::Mouse(mouse) => state.mouse(mouse),
        Action::Resized(columns, rows) => state.resized(columns, rows),
        Action::Reports(reports) => reports.into_iter().for_each(|report| state.report(report)),
        Action::Focused(has) => state.focus(has),
        Action::Ending => state.keep_typed(),
        Action::Pend(_) | Action::Tick => {}
    }
    state.settle();
    state.alert();
    state.visible =
        !text || state.out.is_empty() || !state.out.iter().all(|effect| matches!(effect, Effect::Input(..)));
    std::mem::take(&mut state.out)
}

impl State {
    /// Brings what depends on other things in line with them.
    fn settle(&mut self) {
        if std::mem::take(&mut self.stale) {
            self.rebuild();
            if let Some(Dialog::Form(form)) = &mut self.dialog {
                form.refresh(&self.fleet);
            }
        }
        self.settle_lists();
        self.settle_carry();
        self.settle_diff();
        self.settle_details();
        self.settle_story();
        self.settle_preview();
        self.settle_attach();
    }

    fn unbound(&mut self, keys: &[key::Key]) {
        if keys.len() > 1 {
            let text = format!("{} means nothing here; ? shows the keys", key::chord(keys));
            self.notices.add(Kind::Info, &text, self.now);
        }
    }

    fn resized(&mut self, columns: u16, rows: u16) {
        self.size = (columns, rows);
    }

    pub(crate) fn notice(&mut self, kind: Kind, text: &str) {
        self.notices.add(kind, text, self.now);
    }
}
