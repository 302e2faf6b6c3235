//! What led to a session's end, and what can be done about it.

use std::sync::Arc;

use hostd_core::{
    text,
    triage::{Choice, choices, is_for},
};

use tokio::time::timeout;

use super::Fleet;
use crate::sessions::{
    error::FleetError, registry::Handle, samples::Sample, view::SessionView, vm::running::LAST_SERIAL,
};

/// Lines of a guest's console, and rows of its agent's terminal, that are told.
const LINES: usize = 20;
/// Longest of them, in bytes.
const LINE_MAX: usize = 300;

/// A session that has crashed, or whose agent has ended badly; or any that was asked for by its name.
#[derive(Clone, Debug)]
pub struct Triage {
    /// The session as it stands.
    pub view: SessionView,
    /// The last lines that its guest wrote to its serial console, the oldest first, made safe. Of a QEMU that was killed what hostd had
    /// read before.
    pub console: Vec<String>,
    /// The last rows of its agent's terminal, made safe.
    pub terminal: Vec<String>,
    /// What its VM took in the last minutes, the oldest first.
    pub samples: Vec<Sample>,
    /// What can be done about it, the most careful first.
    pub choices: Vec<Choice>,
}

impl Fleet {
    /// All sessions that are for triage, the newest end first, without their consoles and terminals.
    #[must_use]
    pub fn triage(&self) -> Vec<Triage> {
        let all = self.registry().all();
        let mut ended: Vec<_> =
            all.iter().filter(|handle| is_for(&handle.record.borrow().session)).map(brief).collect();
        ended.sort_by_key(|triage| std::cmp::Reverse(triage.view.session.turn_since()));
        ended
    }

    /// All that is known of one session's end; also of one that has not ended.
    ///
    /// # Errors
    /// As [`Fleet::get`].
    pub async fn triage_of(&self, asked: &str) -> Result<Triage, FleetError> {
        let handle = self.handle(asked)?;
        let live = handle.live.borrow().clone();
        // A QEMU that is stopped says nothing.
        let said = match live {
            Some(live) => timeout(LAST_SERIAL, live.vm.serial()).await.ok(),
            None => None,
        };
        let console = match said {
            Some(console) => console,
            None => {
                let (vmm, folder) = (self.ctx().vmm.clone(), self.ctx().folder(&handle.id));
                let read = tokio::task::spawn_blocking(move || vmm.last_console(folder.path())).await;
                read.unwrap_or_default()
            }
        };
        let terminal = handle.terminal.last_rows(LINES).await.iter().map(|row| text::clean(row, LINE_MAX)).collect();
        Ok(Triage { console: last_lines(&console), terminal, ..brief(&handle) })
    }
}

fn brief(handle: &Arc<Handle>) -> Triage {
    let view = handle.view();
    let choices = choices(&view.session);
    Triage { view, console: vec![], terminal: vec![], samples: handle.samples.all(), choices }
}

/// The last lines of a console, without blank ones.
fn last_lines(console: &[u8]) -> Vec<String> {
    let all = String::from_utf8_lossy(console);
    let safe = all.lines().rev().map(|line| text::one_line(&text::clean(line, LINE_MAX)));
    let mut lines: Vec<String> = safe.filter(|line| !line.is_empty()).take(LINES).collect();
    lines.reverse();
    lines
}
