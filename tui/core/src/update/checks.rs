//! The checks of the selected pull request: which one is meant, its log, and running it again.

use crate::{State, effect::Call, log::Source, notice::Kind, pull::Check};

impl State {
    /// The selected check's place among those of the selected pull request: the one chosen, else the one that likely matters.
    #[must_use]
    pub fn selected_check(&self) -> Option<usize> {
        let checks = &self.fleet.pull(self.pulls.selected()?)?.checks;
        let of = |wanted: &[&str]| checks.iter().position(|check| wanted.contains(&&*check.state));
        let chosen = self.check.as_ref().and_then(|name| checks.iter().position(|check| check.name == *name));
        let first = (!checks.is_empty()).then_some(0);
        chosen.or_else(|| of(&["failed", "errored"])).or_else(|| of(&["running"])).or(first)
    }

    /// Selects the check this many places on.
    pub(crate) fn step_check(&mut self, by: isize) {
        let Some((_, pull)) = self.need_pull() else { return };
        let Some(at) = self.selected_check() else { return };
        let to = at.saturating_add_signed(by).min(pull.checks.len().saturating_sub(1));
        self.check = pull.checks.get(to).map(|check| check.name.clone());
    }

    /// Opens the log of the selected check of the head that is on the screen, also when another is pushed meanwhile.
    pub(crate) fn open_check_log(&mut self) {
        let Some((key, pull)) = self.need_pull() else { return };
        if let Some(check) = self.need_check(&pull.checks) {
            self.open_log(Source::Check { pull: key, commit: pull.head, name: check.name });
        }
    }

    /// Runs the selected check again. That costs a run and nothing else, so it asks nothing.
    pub(crate) fn rerun(&mut self) {
        let Some((key, pull)) = self.need_pull() else { return };
        if let Some(check) = self.need_check(&pull.checks) {
            let about = format!("{} of {}", check.name, pull.name());
            let repository = key.repository.to_string();
            self.call(&key.host, Call::Rerun { repository, commit: pull.head, name: check.name }, &about);
        }
    }

    fn need_check(&mut self, checks: &[Check]) -> Option<Check> {
        let check = self.selected_check().and_then(|at| checks.get(at)).cloned();
        if check.is_none() {
            self.notice(Kind::Info, "It has no checks");
        }
        check
    }
}
