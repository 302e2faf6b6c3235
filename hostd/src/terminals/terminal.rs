use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use hostd_core::{
    UnixMillis,
    session::Modes,
    signs::{self, Sign},
};
use pilothouse_terminal::{
    AFRESH, Emulator, Progress,
    query::{self, Typed},
    status::Records,
};
use tokio::sync::{Notify, OnceCell, mpsc, oneshot, watch};

use super::{
    files::{self, Log},
    signs::{Answers, Look, Signs},
    size::Size,
    viewer::{AttachOptions, PIECE, Role, Screen, Shown, Viewer, Waiting},
};

pub(super) fn now() -> UnixMillis {
    jiff::Timestamp::now().as_millisecond()
}

/// Most pieces of input that may wait for the guest.
const INPUT_QUEUE: usize = 64;
/// Most rows of history that are kept in memory for each terminal.
const HISTORY: usize = 3000;

/// The terminal of a session. Clones share it.
#[derive(Clone)]
pub struct Terminal {
    pub(super) inner: Arc<Inner>,
}

/// A message could not be typed: nobody will read this terminal any more.
#[derive(Debug, PartialEq, Eq)]
pub struct NotTyped;

pub(super) struct Inner {
    directory: PathBuf,
    loaded: OnceCell<()>,
    state: Mutex<State>,
    size: watch::Sender<Size>,
    viewers: watch::Sender<usize>,
    signs: watch::Sender<Signs>,
    /// Changes when there may be another sign of the agent than before.
    seen: watch::Sender<()>,
    /// Changes when the agent's program has reported something new of itself, or may have got an answer.
    reported: watch::Sender<()>,
    /// Told when all output of the agent has come.
    complete: Notify,
}

/// Input on its way to the guest.
pub(crate) struct Input {
    pub(crate) bytes: Bytes,
    /// Told when the guest's connection has taken the input.
    pub(super) taken: Option<oneshot::Sender<()>>,
}

struct State {
    /// Emulator of the terminal; None until somebody looks or the guest writes.
    emulator: Option<Emulator>,
    /// What was seen of the agent, from which its sign is derived.
    seen: signs::Signs,
    /// Whether the agent's sign is [`Sign::Nothing`], and whoever asked looks again in time: output and input are no news.
    watched: bool,
    /// When somebody last typed what may be an answer, and what: nothing has been put out since.
    keyed: Option<(UnixMillis, Typed)>,
    /// The same, once output has come after it.
    answered: Option<(UnixMillis, Typed)>,
    /// Whether nothing was ever shown on the terminal.
    blank: bool,
    /// Offset of the next byte that is wanted from the guest.
    offset: u64,
    viewers: BTreeMap<u64, Waiting>,
    last_viewer: u64,
    writer: Option<u64>,
    input: Option<mpsc::Sender<Input>>,
    output_ended: bool,
    exit: Option<i32>,
    ended: Option<String>,
}

impl Terminal {
    /// The terminal whose files are in this folder. `ended`: why nobody writes to it; None where an agent will.
    #[must_use]
    pub fn new(directory: &Path, ended: Option<String>) -> Self {
        let state = State {
            emulator: None,
            seen: signs::Signs::default(),
            watched: false,
            keyed: None,
            answered: None,
            blank: true,
            offset: 0,
            viewers: BTreeMap::new(),
            last_viewer: 0,
            writer: None,
            input: None,
            output_ended: false,
            exit: None,
            ended,
        };
        let inner = Inner {
            directory: directory.into(),
            loaded: OnceCell::new(),
            state: Mutex::new(state),
            size: watch::channel(Size::USUAL).0,
            viewers: watch::channel(0).0,
            signs: watch::channel(Signs::default()).0,
            seen: watch::channel(()).0,
            reported: watch::channel(()).0,
            complete: Notify::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Adds a viewer.
    pub async fn attach(&self, wish: AttachOptions) -> Viewer {
        self.inner.load().await;
        let (id, wake, resize) = self.inner.enter(wish);
        let viewer = Viewer { terminal: self.inner.clone(), id, wake };
        if let Some(size) = resize {
            viewer.resize(size).await;
        }
        viewer
    }

    /// Number of viewers, previews apart, and every change of it.
    #[must_use]
    pub fn viewers(&self) -> watch::Receiver<usize> {
        self.inner.viewers.subscribe()
    }

    /// What the agent's terminal says by itself, and every change of that.
    #[must_use]
    pub fn signs(&self) -> watch::Receiver<Signs> {
        self.inner.signs.subscribe()
    }

    /// State of the terminal's screen; None: nothing was written to the terminal since hostd knows it.
    #[must_use]
    pub fn look(&self) -> Option<Look> {
        self.inner.lock().emulator.as_ref().map(Look::at)
    }

    /// Size of the terminal now.
    #[must_use]
    pub fn size(&self) -> Size {
        *self.inner.size.borrow()
    }

    /// Prepares the terminal for an agent that will write to it later.
    pub fn expect(&self) {
        let mut state = self.inner.lock();
        state.ended = None;
        state.exit = None;
        state.output_ended = false;
    }

    /// Terminal modes that the program has set and that change what is typed.
    #[must_use]
    pub fn modes(&self) -> Modes {
        let modes = |emulator: &Emulator| Modes {
            paste: emulator.screen().bracketed_paste(),
            application_cursor: emulator.screen().application_cursor(),
        };
        self.inner.lock().emulator.as_ref().map(modes).unwrap_or_default()
    }

    /// Types these pieces; returns when the guest's connection has taken them. For guests that do not type messages themselves:
    /// nobody knows when they are read.
    ///
    /// # Errors
    /// [`NotTyped`] where no agent reads, or its VM ended meanwhile.
    pub async fn type_pieces(&self, pieces: Vec<Vec<u8>>) -> Result<(), NotTyped> {
        let input = self.inner.lock().input.clone().ok_or(NotTyped)?;
        for piece in pieces {
            let (taken, wait) = oneshot::channel();
            input.send(Input { bytes: piece.into(), taken: Some(taken) }).await.map_err(|_| NotTyped)?;
            wait.await.map_err(|_| NotTyped)?;
        }
        Ok(())
    }

    /// Changes when there may be another sign of the agent than before.
    #[must_use]
    pub fn seen(&self) -> watch::Receiver<()> {
        self.inner.seen.subscribe()
    }

    /// The agent's sign now, and when it may change although nothing happens. None: the terminal has had no output yet.
    #[must_use]
    pub fn sign(&self, now: UnixMillis) -> (Option<Sign>, Option<UnixMillis>) {
        let mut state = self.inner.lock();
        let shown = state.emulator.as_ref().filter(|emulator| !emulator.screen().hide_cursor());
        let before = shown.map(|emulator| emulator.cursor_row().0).unwrap_or_default();
        let (sign, next) = (state.seen.sign(&before, now), state.seen.next(now));
        state.watched = sign == Some(Sign::Nothing) && next.is_some();
        (sign, next)
    }

    /// Notes that these bytes are typed for a person.
    pub fn typed(&self, bytes: &[u8]) {
        self.inner.typed(bytes);
    }

    /// What the terminal's programs have reported of themselves.
    #[must_use]
    pub fn status(&self) -> Records {
        self.inner.lock().emulator.as_ref().map(|emulator| emulator.status().clone()).unwrap_or_default()
    }

    /// Changes when there may be other reports than before, or an answer.
    #[must_use]
    pub fn reported(&self) -> watch::Receiver<()> {
        self.inner.reported.subscribe()
    }

    /// When somebody last typed what may be an answer, and whether it was Enter; None: nobody has, or no output came after it.
    #[must_use]
    pub fn answered(&self) -> Option<(UnixMillis, bool)> {
        self.inner.lock().answered.map(|(at, typed)| (at, typed == Typed::Line))
    }

    /// Notes the exit code of the agent's process. Viewers are told when its last output has come.
    pub fn agent_exited(&self, code: i32) {
        let mut state = self.inner.lock();
        state.exit = Some(code);
        if let Some(emulator) = &mut state.emulator {
            emulator.process_ended();
        }
        self.inner.signs.send_modify(|signs| signs.progress = Progress::Over);
        self.inner.reported.send_replace(());
        state.end_if_over();
    }

    /// Notes why nobody writes to the terminal any more.
    pub fn end(&self, reason: String) {
        let mut state = self.inner.lock();
        state.input = None;
        state.end(reason);
    }

    /// Begins with a new agent's output at offset 0. Returns the input and sizes for it, and what to log first.
    pub(crate) async fn begin(&self) -> (mpsc::Receiver<Input>, watch::Receiver<Size>, &'static [u8]) {
        self.inner.load().await;
        let (sender, receiver) = mpsc::channel(INPUT_QUEUE);
        let mut state = self.inner.lock();
        state.input = Some(sender);
        state.offset = 0;
        state.seen = signs::Signs::default();
        (state.keyed, state.answered) = (None, None);
        state.exit = None;
        state.output_ended = false;
        state.ended = None;
        let first: &[u8] = if state.blank { b"" } else { AFRESH.as_bytes() };
        self.inner.show(&mut state, &Bytes::from_static(first));
        // Title and progress were those of the program before.
        self.inner.signs.send_modify(|signs| {
            (signs.offset, signs.title, signs.progress) = (0, String::new(), Progress::Over);
        });
        (receiver, self.inner.size.subscribe(), first)
    }

    /// Goes on with the same agent's output at `offset`. Returns the input and sizes for it.
    pub(super) async fn go_on(&self, offset: u64) -> (mpsc::Receiver<Input>, watch::Receiver<Size>) {
        self.inner.load().await;
        let (sender, receiver) = mpsc::channel(INPUT_QUEUE);
        let mut state = self.inner.lock();
        state.input = Some(sender);
        state.offset = offset;
        state.ended = None;
        (receiver, self.inner.size.subscribe())
    }

    /// Shows the terminal as it lies in this folder, as [`files::copy`] has put it there: its program has gone back to what it showed
    /// then. What was shown since stays in the log, and what is shown now is written behind it.
    pub(crate) async fn go_back(&self, folder: &Path) {
        self.inner.load().await;
        let (size, folder) = (self.size(), folder.to_owned());
        let drawn = tokio::task::spawn_blocking(move || {
            let then = files::load_size(&folder).unwrap_or(size);
            let mut emulator = emulator(then);
            emulator.feed(&files::replay(&folder));
            emulator.past();
            emulator.resize(size.columns, size.rows);
            let drawn = emulator.draw(HISTORY);
            (emulator, [AFRESH.as_bytes(), &drawn.bytes].concat())
        });
        let Ok((emulator, drawn)) = drawn.await else { return };
        let logged = async { Log::open(self.directory()).await?.append_own(&drawn).await };
        if let Err(error) = logged.await {
            tracing::warn!(directory = ?self.directory(), %error, "what a terminal shows again is not in its log");
        }
        let mut state = self.inner.lock();
        self.inner.signs.send_modify(|signs| {
            emulator.title().clone_into(&mut signs.title);
            signs.progress = Progress::Over;
        });
        state.emulator = Some(emulator);
        state.seen = signs::Signs::default();
        (state.keyed, state.answered, state.exit, state.ended) = (None, None, None, None);
        (state.output_ended, state.blank) = (false, false);
        let unanswered = state.viewers.values_mut().flat_map(Waiting::renew).collect();
        state.respond(unanswered);
        self.inner.reported.send_replace(());
    }

    /// Takes up the terminal of an agent that ran on while no hostd did: draws what is known of it, and returns the offset of the
    /// next byte that is wanted. Where that is not known, what the guest still has is taken again.
    pub(crate) async fn take_up(&self) -> u64 {
        self.inner.load().await;
        let directory = self.inner.directory.clone();
        let offset = tokio::task::spawn_blocking(move || files::offset(&directory)).await.ok().flatten();
        if offset.is_none() {
            tracing::warn!(directory = ?self.inner.directory, "how far a terminal was taken is not known");
        }
        let offset = offset.unwrap_or_default();
        self.inner.lock().offset = offset;
        offset
    }

    /// Offset of the next byte that is wanted from the guest.
    pub(crate) fn offset(&self) -> u64 {
        self.inner.lock().offset
    }

    /// Takes output of the guest that begins at `offset`; returns what is new of it.
    pub(super) fn feed(&self, offset: u64, output: Bytes) -> Bytes {
        let mut state = self.inner.lock();
        let known = state.offset.saturating_sub(offset);
        let known = usize::try_from(known).unwrap_or(usize::MAX).min(output.len());
        let new = output.slice(known..);
        if offset > state.offset {
            let lost = format!("\r\n\x1b[m[{} bytes of output were lost]\r\n", offset - state.offset);
            self.inner.show(&mut state, &lost.into());
        }
        state.offset = state.offset.max(offset.saturating_add(output.len() as u64));
        let before = self.inner.signs.borrow().clone();
        self.inner.show(&mut state, &new);
        if !new.is_empty() {
            let now = now();
            self.inner.signs.send_modify(|signs| (signs.offset, signs.last_output) = (state.offset, Some(now)));
            if state.note_output(&before, &self.inner.signs.borrow(), now) {
                self.inner.seen.send_replace(());
            }
            if let Some(keyed) = state.keyed.take() {
                state.answered = Some(keyed);
                self.inner.reported.send_replace(());
            }
        }
        new
    }

    /// Notes that all output of the agent has come.
    pub(super) fn output_ended(&self) {
        let mut state = self.inner.lock();
        state.output_ended = true;
        state.end_if_over();
        self.inner.complete.notify_waiters();
    }

    /// The last line on the terminal that is not blank, once all output of the agent has come, or this time is over.
    pub async fn last_line(&self, within: Duration) -> String {
        let complete = self.inner.complete.notified();
        tokio::pin!(complete);
        // From here on no end of the output is missed.
        complete.as_mut().enable();
        if !self.inner.lock().output_ended {
            let _ = tokio::time::timeout(within, complete).await;
        }
        self.inner.lock().emulator.as_ref().map(last_line).unwrap_or_default()
    }

    /// The last rows of the terminal's screen, without blank ones at its end; at most `most`.
    pub async fn last_rows(&self, most: usize) -> Vec<String> {
        self.inner.load().await;
        let state = self.inner.lock();
        let Some(emulator) = state.emulator.as_ref() else { return vec![] };
        let mut rows: Vec<String> =
            emulator.rows(emulator.size().0).iter().map(|row| row.trim_end().to_owned()).collect();
        while rows.last().is_some_and(String::is_empty) {
            rows.pop();
        }
        rows.drain(..rows.len().saturating_sub(most));
        rows
    }

    pub(super) fn directory(&self) -> &Path {
        &self.inner.directory
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state stays usable where a holder panicked: nothing is left half changed but a screen.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Draws what was logged before, once.
    async fn load(&self) {
        self.loaded
            .get_or_init(|| async {
                let directory = self.directory.clone();
                let loaded = tokio::task::spawn_blocking(move || {
                    let size = files::load_size(&directory).unwrap_or(Size::USUAL);
                    let mut emulator = emulator(size);
                    let past = files::replay(&directory);
                    emulator.feed(&past);
                    // What it said then was heard then.
                    emulator.past();
                    (size, emulator, past.is_empty())
                });
                let Ok((size, emulator, blank)) = loaded.await else { return };
                self.size.send_replace(size);
                let mut state = self.lock();
                self.signs.send_modify(|signs| emulator.title().clone_into(&mut signs.title));
                state.emulator = Some(emulator);
                state.blank = blank;
                self.reported.send_replace(());
            })
            .await;
    }

    /// Adds a viewer; returns its id and waker, and the size to apply for it.
    fn enter(&self, wish: AttachOptions) -> (u64, Arc<Notify>, Option<Size>) {
        let mut state = self.lock();
        state.last_viewer += 1;
        let id = state.last_viewer;
        let wake = Arc::new(Notify::new());
        let waiting = Waiting::new(wish, wake.clone());
        let writes = state.writer.is_none() && waiting.may_write();
        let resize = waiting.wish.size.filter(|_| writes);
        if writes {
            state.writer = Some(id);
        }
        state.viewers.insert(id, waiting);
        state.tell_roles();
        self.viewers.send_replace(state.count());
        (id, wake, resize)
    }

    pub(super) fn leave(&self, id: u64) {
        let mut state = self.lock();
        let unanswered = state.viewers.remove(&id).map(|mut viewer| viewer.unanswered());
        state.respond(unanswered.unwrap_or_default());
        if state.writer == Some(id) {
            // Who has waited longest writes now.
            let next = state.viewers.iter().find(|(_, v)| v.may_write()).map(|(id, _)| *id);
            state.pass_pen(next);
        }
        state.tell_roles();
        self.viewers.send_replace(state.count());
        let size = state.writer.and_then(|id| state.viewers.get(&id)).and_then(|v| v.wish.size);
        if let Some(size) = size {
            self.apply(&mut state, size);
        }
    }

    pub(super) async fn take(&self, id: u64) {
        let size = {
            let mut state = self.lock();
            let Some(viewer) = state.viewers.get(&id).filter(|v| v.may_write()) else { return };
            let size = viewer.wish.size;
            state.pass_pen(Some(id));
            state.tell_roles();
            size
        };
        if let Some(size) = size {
            self.resize(id, size).await;
        }
    }

    pub(super) async fn resize(&self, id: u64, size: Size) {
        let changed = {
            let mut state = self.lock();
            if let Some(viewer) = state.viewers.get_mut(&id) {
                viewer.wish.size = Some(size);
            }
            state.writer == Some(id) && self.apply(&mut state, size)
        };
        if changed {
            files::save_size(&self.directory, size).await;
        }
    }

    fn apply(&self, state: &mut State, size: Size) -> bool {
        if *self.size.borrow() == size || !size.is_usable() {
            return false;
        }
        if let Some(emulator) = &mut state.emulator {
            emulator.resize(size.columns, size.rows);
        }
        self.size.send_replace(size);
        let unanswered = state.viewers.values_mut().flat_map(Waiting::renew).collect();
        state.respond(unanswered);
        true
    }

    pub(super) fn writes(&self, id: u64) -> bool {
        self.lock().writer == Some(id)
    }

    pub(super) async fn write(&self, id: u64, waiting: &mut BytesMut) {
        let input = {
            let state = self.lock();
            state.input.clone().filter(|_| state.writer == Some(id))
        };
        if input.is_some() {
            self.typed(waiting);
        }
        // Without an agent there is nobody to read it: it is lost, as on a terminal whose program has ended.
        let Some(input) = input else { return waiting.clear() };
        match input.reserve().await {
            Ok(place) => place.send(Input { bytes: waiting.split().freeze(), taken: None }),
            Err(_) => waiting.clear(),
        }
    }

    /// Notes that somebody typed these bytes.
    fn typed(&self, bytes: &[u8]) {
        let mut state = self.lock();
        state.seen.input(now());
        let before = state.keyed.map(|(_, typed)| typed);
        if let Some(typed) = query::typed(bytes).max(before) {
            state.keyed = Some((now(), typed));
        }
        if !state.watched {
            self.seen.send_replace(());
        }
    }

    /// What this viewer is to see next; None: nothing yet.
    pub(super) fn shown(&self, id: u64) -> Option<Shown> {
        let mut state = self.lock();
        let count = state.count();
        let State { emulator, viewers, writer, ended, .. } = &mut *state;
        let writer_name = writer.and_then(|id| viewers.get(&id)).map(|v| v.wish.name.clone()).unwrap_or_default();
        let viewer = viewers.get_mut(&id)?;
        if std::mem::take(&mut viewer.screen_due) {
            let size = *self.size.borrow();
            let drawn = emulator.get_or_insert_with(|| self::emulator(size)).draw(viewer.wish.history);
            return Some(Shown::Screen(Screen { size, contents: drawn.bytes.into(), history: drawn.history }));
        }
        if std::mem::take(&mut viewer.role_due) {
            return Some(Shown::Role(Role { writer: *writer == Some(id), writer_name, viewers: count }));
        }
        viewer.pop().map(Shown::Output).or_else(|| ended.clone().map(Shown::Ended))
    }
}

impl Inner {
    /// Gives output to the emulator and to every viewer.
    fn show(&self, state: &mut State, bytes: &Bytes) {
        // In pieces that go to a viewer as one: its terminal answers all queries in it, or none.
        let mut rest = bytes.clone();
        while !rest.is_empty() {
            let piece = rest.split_to(rest.len().min(PIECE));
            self.show_piece(state, &piece);
        }
    }

    fn show_piece(&self, state: &mut State, bytes: &Bytes) {
        state.blank = false;
        let emulator = state.emulator.get_or_insert_with(|| emulator(*self.size.borrow()));
        let before = emulator.status().revision();
        emulator.feed(bytes);
        if emulator.status().revision() != before {
            self.reported.send_replace(());
        }
        let events = emulator.events();
        let mut answers = Answers::default();
        if !events.is_empty() {
            // Progress that is shown again counts for longer.
            let shown = |signs: &Signs| (signs.title.clone(), signs.progress, signs.progress_at);
            let before = shown(&self.signs.borrow());
            self.signs.send_modify(|signs| answers = signs.take(events, self::now()));
            if shown(&self.signs.borrow()) != before {
                self.reported.send_replace(());
            }
        }
        let writer = state.writer.and_then(|id| state.viewers.get(&id));
        let (now, mut answers) = answers.split(writer.is_some_and(Waiting::will_answer));
        state.respond(now);
        for (id, viewer) in &mut state.viewers {
            let theirs = state.writer == Some(*id) && viewer.will_answer();
            let given = if theirs { std::mem::take(&mut answers) } else { Vec::new() };
            answers.extend(viewer.push(bytes, given));
        }
        state.respond(answers);
    }
}

impl State {
    /// Number of viewers, previews apart.
    fn count(&self) -> usize {
        self.viewers.values().filter(|viewer| !viewer.wish.preview).count()
    }

    /// Makes somebody else the writer. Who writes decides whose terminal answers, so neither keeps output that was meant for
    /// the time before.
    fn pass_pen(&mut self, to: Option<u64>) {
        let from = std::mem::replace(&mut self.writer, to);
        if from == to {
            return;
        }
        let both = self.viewers.iter_mut().filter(|(id, _)| Some(**id) == from || Some(**id) == to);
        let unanswered = both.flat_map(|(_, viewer)| viewer.renew()).collect();
        self.respond(unanswered);
    }

    /// Answers an agent's queries. Where it reads nothing the answers are lost, as on any terminal.
    fn respond(&self, answers: Vec<u8>) {
        if let Some(input) = self.input.as_ref().filter(|_| !answers.is_empty()) {
            let _ = input.try_send(Input { bytes: answers.into(), taken: None });
        }
    }

    /// Notes output of the program; returns whether there may be another sign.
    fn note_output(&mut self, before: &Signs, after: &Signs, now: UnixMillis) -> bool {
        self.seen.output(now);
        let (rang, notified) = (after.bells > before.bells, after.notifications > before.notifications);
        if rang {
            self.seen.bell(now);
        }
        if let Some(notification) = after.notification.as_ref().filter(|_| notified) {
            let parts = [&*notification.title, &*notification.body];
            let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            self.seen.notified(&parts.join(": "), signs::Call::by_osc(notification.osc), now);
        }
        !self.watched || rang || notified
    }

    fn tell_roles(&mut self) {
        for viewer in self.viewers.values_mut() {
            viewer.role_due = true;
            viewer.wake.notify_one();
        }
    }

    fn end_if_over(&mut self) {
        if let (true, Some(code)) = (self.output_ended, self.exit) {
            self.end(format!("the agent {}", hostd_core::session::how_it_ended(code)));
        }
    }

    fn end(&mut self, reason: String) {
        self.ended = Some(reason);
        for viewer in self.viewers.values() {
            viewer.wake.notify_one();
        }
    }
}

/// The last row of the screen that is not blank; empty: there is none.
fn last_line(emulator: &Emulator) -> String {
    let rows = emulator.rows(emulator.size().0);
    rows.iter().rev().map(|row| row.trim()).find(|row| !row.is_empty()).unwrap_or_default().to_owned()
}

fn emulator(size: Size) -> Emulator {
    // Copies to the clipboard are the viewers' to decide.
    Emulator::new(size.columns, size.rows, HISTORY, 0)
}
