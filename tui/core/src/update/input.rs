//! What a person gives the attached terminal: keys, pastes, the mouse.

use crate::{
    Command, Effect, State,
    action::Mouse,
    attach::{Attach, Link, Typed},
    key::{Code, Key},
    notice::Kind,
    terminal::{Terminal, encode_key, encode_mouse, encode_paste},
};

fn encode(typed: &Typed, terminal: &Terminal) -> Vec<u8> {
    match typed {
        Typed::Key(key) => encode_key(*key, terminal),
        Typed::Paste(text) => encode_paste(text, terminal.screen()),
    }
}

impl State {
    pub(crate) fn type_into_terminal(&mut self, key: Key) {
        let Some(attach) = &self.attach else { return };
        let over = matches!(attach.viewer.link, Link::Ended(_) | Link::Refused(_));
        if over && matches!(key.code, Code::Esc | Code::Enter | Code::Char('q')) {
            return self.detach();
        }
        self.put_in(Typed::Key(key));
    }

    pub(crate) fn paste_into_terminal(&mut self, text: &str) {
        self.put_in(Typed::Paste(text.to_owned()));
    }

    /// Keeps it while the terminal is on its way, else sends it.
    fn put_in(&mut self, typed: Typed) {
        let Some(attach) = &mut self.attach else { return };
        match (&mut attach.ahead, &attach.viewer.terminal) {
            (Some(ahead), _) => {
                if !ahead.keep(typed) {
                    self.notice(Kind::Warning, "It is not there yet; some of what you typed was dropped");
                }
            }
            (None, None) => {}
            (None, Some(terminal)) => {
                let bytes = encode(&typed, terminal);
                self.input(bytes);
            }
        }
    }

    /// Sends what was typed ahead once this console writes, or says that it goes nowhere. `told`: the host has just said who
    /// writes.
    pub(crate) fn settle_ahead(&mut self, told: bool) {
        let Some(attach) = &mut self.attach else { return };
        let writer = attach.viewer.role.writer;
        let known = match attach.viewer.link {
            Link::Connecting => told && !writer,
            Link::Live => told || writer,
            Link::Lost(..) | Link::Ended(_) | Link::Refused(_) => true,
        };
        let live = attach.viewer.link == Link::Live;
        let Some(ahead) = attach.ahead.take_if(|_| known).filter(|ahead| !ahead.is_empty()) else { return };
        let Some(terminal) = attach.viewer.terminal.as_ref().filter(|_| live) else {
            return self.notice(Kind::Warning, "What you typed did not reach it");
        };
        // In one piece: what waits for a host is counted in pieces.
        let bytes = ahead.typed().iter().flat_map(|typed| encode(typed, terminal)).collect();
        self.input(bytes);
    }

    pub(crate) fn mouse(&mut self, mouse: Mouse) {
        if !self.wants_mouse() {
            return;
        }
        let terminal = self.attach.as_ref().and_then(|a| a.viewer.terminal.as_ref());
        if let Some(terminal) = terminal {
            let (columns, rows) = terminal.size();
            if mouse.column < columns
                && mouse.row < rows
                && let Some(bytes) = encode_mouse(mouse, mouse.column, mouse.row, terminal)
            {
                self.input(bytes);
            }
        }
    }

    /// The window has the keyboard, or has it no more: told to the attached program that asked for it.
    pub(crate) fn focus(&mut self, has: bool) {
        self.focused = has;
        let Some(Attach { viewer, .. }) = &self.attach else { return };
        let asked = viewer.terminal.as_ref().is_some_and(Terminal::wants_focus);
        if asked && viewer.role.writer && viewer.link == Link::Live {
            let report = if has { b"\x1b[I" } else { b"\x1b[O" };
            self.out.push(Effect::Input(viewer.ticket, report.to_vec()));
        }
    }

    fn input(&mut self, bytes: Vec<u8>) {
        let Some(attach) = &self.attach else { return };
        let (ticket, live, writer) =
            (attach.viewer.ticket, attach.viewer.link == Link::Live, attach.viewer.role.writer);
        if bytes.is_empty() || !live {
            return;
        }
        if writer {
            self.out.push(Effect::Input(ticket, bytes));
        } else {
            let take = self.keymap.keys_for(Command::Take, self.conditions()).map(|keys| crate::key::chord(&keys));
            let how = take.map_or_else(String::new, |keys| format!("; {keys} makes you the writer"));
            self.notice(Kind::Info, &format!("You only watch{how}"));
        }
    }
}
