//! Builds: begun once, followed, over.

use crate::{
    Effect, State,
    effect::Call,
    fleet::EnvironmentKey,
    notice::Kind,
    report::BuildReport,
    state::{Building, View},
    text,
    ticket::Slot,
};

impl State {
    pub(crate) fn build(&mut self) {
        let Some(key) = self.environments.selected().filter(|_| self.view == View::Environments).cloned() else {
            return self.notice(Kind::Info, "Select an environment first (in Environments)");
        };
        if self.building.values().any(|k| *k == key) {
            return self.notice(Kind::Info, &format!("{} is being built already", key.name));
        }
        let ticket = self.ticket(Slot::Call);
        self.builds.insert(key.clone(), Building::default());
        self.out.push(Effect::Call(ticket, key.host.clone(), Call::Build(key.name.to_string())));
        self.building.insert(ticket.generation, key);
    }

    pub(crate) fn built(&mut self, generation: u64, report: BuildReport) {
        let Some(key) = self.building.get(&generation).cloned() else { return };
        let building = self.builds.entry(key.clone()).or_default();
        match report {
            BuildReport::Step(number, count, name) => {
                building.step = (number, count);
                building.name = text::one_line(&name, 256);
            }
            BuildReport::Output(line) => {
                if building.output.len() == Building::LINES {
                    building.output.remove(0);
                }
                building.output.push(text::one_line(&line, 1024));
            }
            BuildReport::Done(cached) => self.build_over(generation, &key, Ok(cached)),
            BuildReport::Failed(why) => self.build_over(generation, &key, Err(why)),
        }
    }

    fn build_over(&mut self, generation: u64, key: &EnvironmentKey, result: Result<bool, String>) {
        self.building.remove(&generation);
        match result {
            Ok(cached) => {
                self.builds.remove(key);
                let how = if cached { "was built already; nothing has changed since" } else { "is built" };
                self.notice(Kind::Good, &format!("{} {how}", key.name));
            }
            Err(why) => {
                if let Some(building) = self.builds.get_mut(key) {
                    building.failed = Some(text::many_lines(&why, 1 << 14));
                }
                self.notice(Kind::Error, &format!("Could not build {}: {why}", key.name));
            }
        }
    }
}
