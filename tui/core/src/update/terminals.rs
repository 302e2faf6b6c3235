//! Terminals: the preview that follows the selection, and the attached one.

use pilothouse_terminal::Event;

use crate::{
    Command, Effect, State,
    attach::{Ahead, Attach, Life, Link, Role, Viewer},
    copy::Policy,
    fleet::SessionKey,
    key::Key,
    layout::{Layout, attached},
    notice::Kind,
    report::TerminalReport,
    state::View,
    terminal::Terminal,
    ticket::{Slot, Ticket},
    update::reports::ONE_BELL,
};

/// Milliseconds after which the preview of a selected session is opened: running through the list opens none.
const PREVIEW_DELAY: u64 = 60;
/// Rows of history that are asked for and kept when attached.
const HISTORY: u32 = 5000;

impl State {
    /// Opens, changes or closes the preview so that it is the selected session's.
    pub(crate) fn settle_preview(&mut self) {
        let wanted = self.wanted_preview();
        let current = self.preview.as_ref().map(|p| &p.session);
        let over =
            self.preview.as_ref().is_some_and(|p| self.fleet.session(&p.session).is_some_and(|s| p.outlived_by(s)));
        if current == wanted.as_ref() && !over {
            return;
        }
        if let Some(viewer) = self.preview.take() {
            self.keep_screen(viewer);
            if wanted.is_none() {
                self.out.push(Effect::Close(Slot::Preview));
            }
        }
        if let Some(key) = wanted {
            let size = Layout::of(self).beside.map_or((80, 24), |r| (r.width.max(1), r.height.max(1)));
            let viewer = self.open(Slot::Preview, key, true, size, 0, PREVIEW_DELAY);
            self.preview = Some(viewer);
        }
    }

    fn wanted_preview(&self) -> Option<SessionKey> {
        let shown = self.attach.is_none()
            && self.log.is_none()
            && self.diff.is_none()
            && self.preview_shown
            && !self.story_shown
            && matches!(self.view, View::Sessions | View::Crashes)
            && Layout::of(self).beside.is_some();
        let (key, session) = self.selected().filter(|_| shown)?;
        // Before its first start there is nothing to see.
        (session.generation > 0).then(|| key.clone())
    }

    fn open(
        &mut self,
        slot: Slot,
        session: SessionKey,
        observe: bool,
        size: (u16, u16),
        scrollback: u32,
        delay: u64,
    ) -> Viewer {
        let ticket = self.ticket(slot);
        let life = self.fleet.session(&session).map(Life::of);
        let terminal = self.screens.take(&session);
        self.out.push(Effect::OpenTerminal { ticket, session: session.clone(), observe, size, scrollback, delay });
        Viewer {
            session,
            ticket,
            terminal,
            link: Link::Connecting,
            role: Role::default(),
            life,
            history: scrollback as usize,
        }
    }

    fn keep_screen(&mut self, viewer: Viewer) {
        if let Some(mut terminal) = viewer.terminal {
            terminal.scroll_to(0);
            self.screens.put(viewer.session, terminal);
        }
    }

    fn attach_selected(&mut self, observe: bool) {
        let Some((key, _)) = self.need_session() else { return };
        if self.fleet.session(&key).is_some_and(|s| s.generation == 0) {
            return self.notice(Kind::Info, "It has not started yet: there is no terminal to attach to");
        }
        if let Some(viewer) = self.preview.take() {
            self.keep_screen(viewer);
            self.out.push(Effect::Close(Slot::Preview));
        }
        let size = attached(self.size);
        let viewer = self.open(Slot::Attach, key, observe, size, HISTORY, 0);
        self.dialog = None;
        self.log = None;
        self.close_diff();
        self.attach = Some(attach(viewer, observe, size));
    }

    pub(crate) fn detach(&mut self) {
        if let Some(attach) = self.attach.take() {
            self.keep_screen(attach.viewer);
            self.out.push(Effect::Close(Slot::Attach));
            self.out.push(Effect::Title(String::new()));
        }
    }

    pub(crate) fn terminal_report(&mut self, ticket: Ticket, report: TerminalReport) {
        let now = self.now;
        let viewer = match ticket.slot {
            Slot::Attach => self.attach.as_mut().map(|a| &mut a.viewer),
            _ => self.preview.as_mut(),
        };
        let Some(viewer) = viewer.filter(|v| v.ticket == ticket) else { return };
        if matches!(report, TerminalReport::Stalled) {
            return self.notice(Kind::Warning, "The host does not take what you type; some of it was dropped");
        }
        let role = matches!(report, TerminalReport::Role { .. });
        let lost = matches!(report, TerminalReport::Lost(_));
        viewer.report(report, now);
        let said = viewer.terminal.as_mut().map(Terminal::events).unwrap_or_default();
        if lost && let Some(attach) = self.attach.as_mut().filter(|_| ticket.slot == Slot::Attach) {
            // Whoever writes next may have set another size meanwhile: say ours again.
            attach.told = None;
        }
        if ticket.slot == Slot::Attach {
            said.into_iter().for_each(|event| self.heard(event));
            let takes = role && std::mem::take(&mut self.take_when_live);
            if takes {
                self.take();
            }
            self.settle_ahead(role && !takes);
        }
    }

    /// Takes an event of the attached terminal's program. Bell and title pass; a copy is for the user to decide. Queries are
    /// the host's to answer.
    fn heard(&mut self, event: Event) {
        let key = self.keymap.keys_for(Command::Copy, self.conditions()).map(|keys| crate::key::chord(&keys));
        let Some(attach) = &mut self.attach else { return };
        match (event, self.copy) {
            (Event::Bell, _) => {
                let called = attach.called.take().is_some_and(|at| self.now.abs_diff(at) < ONE_BELL);
                if !called {
                    attach.rang = Some(self.now);
                    self.out.push(Effect::Bell);
                }
            }
            (Event::Title(title), _) => self.out.push(Effect::Title(title)),
            (Event::Copy(copy), Policy::Allow) => self.out.push(Effect::Copy(copy)),
            (Event::Copy(copy), Policy::Ask) => {
                let count = copy.text.len();
                attach.offered = Some(copy);
                let how = key.map_or_else(String::new, |key| format!("; {key} copies it"));
                self.notice(Kind::Info, &format!("The program offers text to copy ({count} bytes){how}"));
            }
            (Event::LongCopy, Policy::Allow | Policy::Ask) => {
                self.notice(Kind::Warning, "The program wants more copied than is passed on (768 KiB)");
            }
            _ => {}
        }
    }

    fn copy(&mut self) {
        match self.attach.as_mut().and_then(|attach| attach.offered.take()) {
            Some(copy) => {
                self.out.push(Effect::Copy(copy));
                self.notice(Kind::Info, "Copied");
            }
            None => self.notice(Kind::Info, "The program offers nothing to copy"),
        }
    }

    /// Tells the host of the writer's window, and opens anew what a restarted session has outlived.
    pub(crate) fn settle_attach(&mut self) {
        let size = attached(self.size);
        let Some(attach) = &mut self.attach else { return };
        if attach.viewer.role.writer && attach.told != Some(size) {
            attach.told = Some(size);
            self.out.push(Effect::Resize(attach.viewer.ticket, size));
        }
        if attach.scrolling && attach.viewer.terminal.as_ref().is_none_or(|t| t.screen().alternate_screen()) {
            attach.scrolling = false;
        }
        let viewer = &attach.viewer;
        let (key, observe) = (viewer.session.clone(), attach.observe);
        if self.fleet.session(&key).is_some_and(|s| viewer.outlived_by(s)) {
            self.reopen(key, observe);
        }
    }

    fn reopen(&mut self, key: SessionKey, observe: bool) {
        if let Some(attach) = self.attach.take() {
            self.keep_screen(attach.viewer);
        }
        let size = attached(self.size);
        let viewer = self.open(Slot::Attach, key, observe, size, HISTORY, 0);
        self.attach = Some(attach(viewer, observe, size));
    }

    fn take(&mut self) {
        let Some(attach) = &self.attach else { return };
        if attach.observe {
            // A stream that only watches never writes: open another.
            let key = attach.viewer.session.clone();
            self.take_when_live = true;
            return self.reopen(key, false);
        }
        if !attach.viewer.role.writer {
            let ticket = attach.viewer.ticket;
            self.out.push(Effect::Take(ticket));
        }
    }

    /// Runs a command for terminals; `keys` began the chord.
    pub(crate) fn run_terminal(&mut self, command: Command, keys: &[Key]) {
        let page = isize::try_from(attached(self.size).1.saturating_sub(1).max(1)).unwrap_or(1);
        match command {
            Command::Attach => self.attach_selected(false),
            Command::Observe => self.attach_selected(true),
            Command::Detach => self.detach(),
            Command::Take => self.take(),
            Command::Copy => self.copy(),
            Command::SendPrefix => {
                if let Some(key) = keys.first() {
                    self.type_into_terminal(*key);
                }
            }
            Command::Scroll => self.scroll(0),
            Command::ScrollUp => self.scroll(1),
            Command::ScrollDown => self.scroll(-1),
            Command::ScrollPageUp => self.scroll(page),
            Command::ScrollPageDown => self.scroll(-page),
            Command::ScrollTop => self.scroll(isize::MAX),
            Command::ScrollBottom | Command::ScrollLeave => self.leave_scroll(),
            _ => {}
        }
    }

    fn scroll(&mut self, up: isize) {
        let Some(attach) = &mut self.attach else { return };
        let Some(terminal) = &mut attach.viewer.terminal else { return };
        if terminal.screen().alternate_screen() {
            return self.notice(Kind::Info, "A full-screen program keeps no history");
        }
        if terminal.scrolled().1 == 0 {
            return self.notice(Kind::Info, "There is no history yet");
        }
        attach.scrolling = true;
        terminal.scroll(up);
        // Moving down past the end goes back to the live screen, as in tmux and less.
        if up < 0 && terminal.scrolled().0 == 0 {
            attach.scrolling = false;
        }
    }

    fn leave_scroll(&mut self) {
        if let Some(attach) = &mut self.attach {
            attach.scrolling = false;
            if let Some(terminal) = &mut attach.viewer.terminal {
                terminal.scroll_to(0);
            }
        }
    }
}

fn attach(viewer: Viewer, observe: bool, size: (u16, u16)) -> Attach {
    let ahead = (!observe).then(Ahead::default);
    Attach { viewer, observe, scrolling: false, told: Some(size), ahead, offered: None, rang: None, called: None }
}
