use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::{Bytes, BytesMut};
use tokio::sync::{Notify, OnceCell, mpsc, oneshot, watch};

use super::{
    Size,
    emulator::Emulator,
    files,
    viewer::{Role, Screen, Shown, Viewer, Waiting, Wish},
};

/// Pieces of input that may wait for the guest.
const INPUT_QUEUE: usize = 64;
/// Ends whatever modes the agent of an earlier generation left behind.
const RESET_MODES: &[u8] =
    b"\x18\x1b[?1049l\x1b[?1;9;1000;1002;1003;1005;1006;2004l\x1b[?25h\x1b>\x1b[r\x1b[m\x1b[999H\r\n";

/// A session's terminal. Clones share it.
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
}

/// Towards the guest.
pub(crate) struct Input {
    pub(crate) bytes: Bytes,
    /// Told when the guest's connection has taken it.
    pub(super) taken: Option<oneshot::Sender<()>>,
}

struct State {
    /// None until somebody looks or the guest writes.
    emulator: Option<Emulator>,
    /// Nothing was ever shown on it.
    blank: bool,
    /// The next byte wanted from the guest.
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
        };
        Self { inner: Arc::new(inner) }
    }

    /// Looks at it.
    pub async fn attach(&self, wish: Wish) -> Viewer {
        self.inner.load().await;
        let (id, wake, resize) = self.inner.enter(wish);
        let viewer = Viewer { terminal: self.inner.clone(), id, wake };
        if let Some(size) = resize {
            viewer.resize(size).await;
        }
        viewer
    }

    /// How many look at it, previews apart, and every change of that.
    #[must_use]
    pub fn viewers(&self) -> watch::Receiver<usize> {
        self.inner.viewers.subscribe()
    }

    /// Its size now.
    #[must_use]
    pub fn size(&self) -> Size {
        *self.inner.size.borrow()
    }

    /// An agent will write to it, later.
    pub fn expect(&self) {
        let mut state = self.inner.lock();
        state.ended = None;
        state.exit = None;
        state.output_ended = false;
    }

    /// Types a message and then Enter; returns when the guest's connection has taken it.
    ///
    /// # Errors
    /// [`NotTyped`] where no agent reads, or its VM ended meanwhile.
    pub async fn type_message(&self, text: &str) -> Result<(), NotTyped> {
        let (input, paste) = {
            let state = self.inner.lock();
            let paste = state.emulator.as_ref().is_some_and(Emulator::bracketed_paste) && text.contains('\n');
            (state.input.clone().ok_or(NotTyped)?, paste)
        };
        let text = if paste { format!("\x1b[200~{text}\x1b[201~") } else { text.to_owned() };
        // Enter by itself: programs take a line end that comes with text for a part of it.
        for piece in [text.into(), Bytes::from_static(b"\r")] {
            let (taken, wait) = oneshot::channel();
            input.send(Input { bytes: piece, taken: Some(taken) }).await.map_err(|_| NotTyped)?;
            wait.await.map_err(|_| NotTyped)?;
        }
        Ok(())
    }

    /// The agent's process has ended, so. Viewers are told when its last output has come.
    pub fn agent_exited(&self, code: i32) {
        let mut state = self.inner.lock();
        state.exit = Some(code);
        state.end_if_over();
    }

    /// Nobody writes to it any more, and why.
    pub fn end(&self, reason: String) {
        let mut state = self.inner.lock();
        state.input = None;
        state.end(reason);
    }

    /// A new agent's output begins, at offset 0. What comes back is the input for it, and what to log first.
    pub(crate) async fn begin(&self) -> (mpsc::Receiver<Input>, watch::Receiver<Size>, &'static [u8]) {
        self.inner.load().await;
        let (sender, receiver) = mpsc::channel(INPUT_QUEUE);
        let mut state = self.inner.lock();
        state.input = Some(sender);
        state.offset = 0;
        state.exit = None;
        state.output_ended = false;
        state.ended = None;
        let first: &[u8] = if state.blank { b"" } else { RESET_MODES };
        state.show(&Bytes::from_static(first));
        (receiver, self.inner.size.subscribe(), first)
    }

    /// The same agent's output goes on at `offset`. What comes back is the input for it.
    pub(super) async fn go_on(&self, offset: u64) -> (mpsc::Receiver<Input>, watch::Receiver<Size>) {
        self.inner.load().await;
        let (sender, receiver) = mpsc::channel(INPUT_QUEUE);
        let mut state = self.inner.lock();
        state.input = Some(sender);
        state.offset = offset;
        state.ended = None;
        (receiver, self.inner.size.subscribe())
    }

    /// The next byte wanted from the guest.
    pub(crate) fn offset(&self) -> u64 {
        self.inner.lock().offset
    }

    /// Output of the guest from `offset` on; returns what is new of it.
    pub(super) fn feed(&self, offset: u64, output: Bytes) -> Bytes {
        let mut state = self.inner.lock();
        let known = state.offset.saturating_sub(offset);
        let known = usize::try_from(known).unwrap_or(usize::MAX).min(output.len());
        let new = output.slice(known..);
        if offset > state.offset {
            let lost = format!("\r\n\x1b[m[{} bytes of output were lost]\r\n", offset - state.offset);
            state.show(&lost.into());
        }
        state.offset = state.offset.max(offset.saturating_add(output.len() as u64));
        state.show(&new);
        new
    }

    /// All output of the agent has come.
    pub(super) fn output_ended(&self) {
        let mut state = self.inner.lock();
        state.output_ended = true;
        state.end_if_over();
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
                    let mut emulator = Emulator::new(size);
                    let past = files::replay(&directory);
                    emulator.feed(&past);
                    (size, emulator, past.is_empty())
                });
                let Ok((size, emulator, blank)) = loaded.await else { return };
                self.size.send_replace(size);
                let mut state = self.lock();
                state.emulator = Some(emulator);
                state.blank = blank;
            })
            .await;
    }

    /// The new viewer's id and waker, and the size to apply for it.
    fn enter(&self, wish: Wish) -> (u64, Arc<Notify>, Option<Size>) {
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
        state.viewers.remove(&id);
        if state.writer == Some(id) {
            // Who has waited longest writes now.
            state.writer = state.viewers.iter().find(|(_, v)| v.may_write()).map(|(id, _)| *id);
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
            state.writer = Some(id);
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
        if *self.size.borrow() == size {
            return false;
        }
        if let Some(emulator) = &mut state.emulator {
            emulator.resize(size);
        }
        self.size.send_replace(size);
        state.viewers.values_mut().for_each(Waiting::renew);
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
        // Without an agent there is nobody to read it: it is lost, as on a terminal whose program has ended.
        let Some(input) = input else { return waiting.clear() };
        match input.reserve().await {
            Ok(place) => place.send(Input { bytes: waiting.split().freeze(), taken: None }),
            Err(_) => waiting.clear(),
        }
    }

    /// What this viewer is to see next.
    pub(super) fn shown(&self, id: u64) -> Option<Shown> {
        let mut state = self.lock();
        let count = state.count();
        let State { emulator, viewers, writer, ended, .. } = &mut *state;
        let writer_name = writer.and_then(|id| viewers.get(&id)).map(|v| v.wish.name.clone()).unwrap_or_default();
        let viewer = viewers.get_mut(&id)?;
        if std::mem::take(&mut viewer.screen_due) {
            let size = *self.size.borrow();
            let emulator = emulator.get_or_insert_with(|| Emulator::new(size));
            let (contents, history) = emulator.draw(viewer.wish.history);
            viewer.joined_alternate = emulator.alternate();
            return Some(Shown::Screen(Screen { size, contents: contents.into(), history }));
        }
        if std::mem::take(&mut viewer.role_due) {
            return Some(Shown::Role(Role { writer: *writer == Some(id), writer_name, viewers: count }));
        }
        viewer.pop().map(Shown::Output).or_else(|| ended.clone().map(Shown::Ended))
    }
}

impl State {
    /// How many look on, previews apart.
    fn count(&self) -> usize {
        self.viewers.values().filter(|viewer| !viewer.wish.preview).count()
    }

    /// Output for the emulator and for everybody who looks on.
    fn show(&mut self, bytes: &Bytes) {
        if bytes.is_empty() {
            return;
        }
        self.blank = false;
        let emulator = self.emulator.get_or_insert_with(|| Emulator::new(Size::USUAL));
        let before = emulator.alternate();
        emulator.feed(bytes);
        let left_alternate = before && !emulator.alternate();
        for viewer in self.viewers.values_mut() {
            viewer.push(bytes);
            if left_alternate && viewer.joined_alternate {
                viewer.renew();
            }
        }
    }

    fn tell_roles(&mut self) {
        for viewer in self.viewers.values_mut() {
            viewer.role_due = true;
            viewer.wake.notify_one();
        }
    }

    fn end_if_over(&mut self) {
        if let (true, Some(code)) = (self.output_ended, self.exit) {
            self.end(format!("the agent ended with exit code {code}"));
        }
    }

    fn end(&mut self, reason: String) {
        self.ended = Some(reason);
        for viewer in self.viewers.values() {
            viewer.wake.notify_one();
        }
    }
}
