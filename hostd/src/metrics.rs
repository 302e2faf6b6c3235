//! `hostd serve --metrics ADDR`: how this host stands and what it has done, for Prometheus.
//!
//! What is shown is read when somebody asks; what is counted is counted by whoever does it (`meter`). Labels have words
//! of the code and names of environments, of which at most 50 are shown: nothing that a guest says becomes a series.
//! `docs/metrics.md` names every metric.

mod page;
mod serve;

use std::{collections::BTreeMap, sync::Arc};

use prometheus_client::encoding::prometheus_text;

use self::page::Page;
use crate::{
    api::Deps,
    ci::Ci,
    gateway::Gateway,
    log,
    sessions::{Figures, Fleet},
    store::{Pulls, Store},
};
pub use serve::Endpoint;

/// Most environments that are shown by their names; the sessions of others are shown together.
const ENVIRONMENTS: usize = 50;
/// Name of those others: none that an environment may have.
const OTHERS: &str = "(others)";

/// What is asked for figures.
#[derive(Clone)]
pub(crate) struct Sources {
    fleet: Arc<Fleet>,
    gateway: Arc<Gateway>,
    store: Store,
    ci: Arc<Ci>,
}

impl Sources {
    /// The parts of hostd that the API serves, too.
    pub(crate) fn of(deps: &Deps) -> Self {
        let Deps { fleet, gateway, store, ci, .. } = deps.clone();
        Self { fleet, gateway, store, ci }
    }

    /// All metrics as text.
    ///
    /// # Errors
    /// What went wrong, in words.
    async fn read(&self) -> Result<String, String> {
        // A store that cannot be read is told by its own counters; the rest is shown all the same.
        let pulls = self.store.count_pulls().await.ok();
        let this = self.clone();
        let read = tokio::task::spawn_blocking(move || this.text(pulls));
        read.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }

    fn text(&self, pulls: Option<Pulls>) -> Result<String, std::fmt::Error> {
        let mut page = Page::default();
        about(&mut page, &self.fleet.figures());
        self.sessions(&mut page);
        self.forge(&mut page, pulls);
        self.gateway(&mut page);
        self.store(&mut page);
        let mut text = String::new();
        prometheus_text::encode(&mut text, &page.into_registry())?;
        Ok(text)
    }

    fn sessions(&self, page: &mut Page) {
        let meter = self.fleet.meter();
        let [starts, suspends, resumes, adoptions] = meter.durations();
        page.shown("session_start_duration_seconds", "How long sessions took from their place to their agent", starts);
        page.shown("session_suspend_duration_seconds", "How long it took to put sessions to disk", suspends);
        page.shown("session_resume_duration_seconds", "How long it took to bring sessions back from disk", resumes);
        let adoption = "How long after hostd's start the VM of an earlier hostd was taken over, or given up";
        page.shown("vm_adoption_duration_seconds", adoption, adoptions);
        page.shown("session_crashes", "Sessions that crashed, by the kind of cause", meter.crashes());
        page.shown("link_reconnects", "Links to guests that were down and came up again", meter.reconnects());
        page.shown("pool_requests", "First starts that a warm VM would fit, by whether there was one", meter.pool());
    }

    fn forge(&self, page: &mut Page, pulls: Option<Pulls>) {
        pull_requests(page, pulls);
        let (queued, running) = self.ci.under_way();
        let states = [("queued", queued as u64), ("running", running as u64)];
        page.gauge("check_runs", "Runs of checks on this host that are not over", "state", states);
        page.shown("check_results", "Runs of checks on this host that are over", self.ci.ended());
    }

    fn gateway(&self, page: &mut Page) {
        let meter = self.gateway.meter();
        page.shown("gateway_requests", "Requests of guests", &meter.requests);
        let help = "Requests of guests that were refused, or to what could not be reached";
        page.shown("gateway_refused_requests", help, &meter.refused);
        page.shown("gateway_bytes", "Bytes between guests and the gateway", &meter.bytes);
        let connections = self.gateway.open_connections() as u64;
        page.one("gateway_connections", "Connections of guests that are served or wait for a place", connections);
        page.shown("model_answers", "Answers of models that were read", &meter.answers);
        page.shown("model_tokens", "Tokens of models' answers", &meter.tokens);
        page.shown("model_cost_dollars", "Cost of models' answers in US dollars, as budgets count it", &meter.cost);
    }

    fn store(&self, page: &mut Page) {
        let meter = self.store.meter();
        page.shown(
            "store_transaction_duration_seconds",
            "How long transactions of the store take",
            &meter.transactions,
        );
        page.shown("store_failures", "Requests to the store that failed", &meter.failures);
        page.one("store_queue_length", "Requests that wait for the store", self.store.waiting() as u64);
        let help = "Warnings and errors in hostd's log, by the part of hostd that says them";
        page.shown("log_events", help, log::counts());
    }
}

/// Pull requests, which are in the store; None: it cannot be read, and nothing is shown rather than that there are none.
fn pull_requests(page: &mut Page, pulls: Option<Pulls>) {
    let help = "Pull requests of the built-in forge";
    if let Some(Pulls { open, ended }) = pulls {
        page.gauge("pull_requests", help, "state", [("open", open), ("ended", ended)]);
    }
}

/// What is read of the host and its sessions.
fn about(page: &mut Page, figures: &Figures) {
    let Figures { host, room, .. } = figures;
    let labels = [("version", env!("CARGO_PKG_VERSION").to_string()), ("vmm", host.vmm.name.to_string())];
    page.info("build", "Version of this hostd, and what starts its VMs", labels);
    let started = host.started_at.unsigned_abs() / 1000;
    page.one("start_time_seconds", "Start of this hostd, in seconds since 1970", started);
    page.gauge("sessions", "Sessions by state", "state", figures.states.clone());
    page.gauge("sessions_attention", "Sessions by whose turn it is", "turn", figures.turns.clone());
    let mut crashed: BTreeMap<&str, u64> = BTreeMap::new();
    crashed.extend(figures.crashed.iter().map(|(cause, count)| (cause.as_str(), *count)));
    page.gauge("sessions_crashed", "Sessions that are crashed now, by the kind of cause", "cause", crashed);
    page.one("sessions_waiting", "Sessions that wait for room", figures.waiting);
    let help = "Sessions that stand still because the store cannot be written";
    page.one("sessions_standing_still", help, figures.standing_still);
    page.one("attached_terminals", "Terminals that people are attached to", figures.viewers);
    let (sessions, warm) = by_environment(&figures.environments);
    page.gauge("environment_sessions", "Sessions by environment", "environment", sessions);
    let ready = warm.iter().map(|(name, (ready, _))| (*name, *ready));
    page.gauge("pool_ready_vms", "Warm VMs that no session has yet", "environment", ready);
    let wanted = warm.iter().map(|(name, (_, wanted))| (*name, *wanted));
    page.gauge("pool_wanted_vms", "Warm VMs that there are to be", "environment", wanted);
    page.gauge("vms", "VMs that run, by what they are for", "kind", figures.vms.map(|(kind, count, _)| (kind, count)));
    let memory = figures.vms.map(|(kind, _, bytes)| (kind, bytes)).into_iter();
    let memory = memory.chain([("standby", figures.standing_by)]);
    page.gauge("vm_memory_bytes", "Memory that VMs have written, or need for themselves", "kind", memory);
    page.one("memory_total_bytes", "Memory of the host", host.memory_total);
    page.one("memory_available_bytes", "Memory of the host that new programs could have", host.memory_available);
    page.one(
        "memory_promised_bytes",
        "Memory that is set aside for VMs that have yet to take it",
        room.memory_promised,
    );
    page.one("memory_reserve_bytes", "Memory that is kept for the host itself", room.memory_reserve());
    page.one("disk_total_bytes", "Size of the file system of the data folder", host.disk_total);
    page.one("disk_available_bytes", "Room on it that hostd could still write", host.disk_available);
    page.one("disk_reserve_bytes", "Room on it that is kept free", room.disk_reserve());
    page.one("file_descriptors_left", "Files that hostd could still open", room.descriptors);
    page.one("problems", "What keeps VMs from starting here, as host show says it", host.vmm.problems.len() as u64);
}

/// Figures by environment.
type By<'a, T> = BTreeMap<&'a str, T>;

/// Sessions, and warm VMs that are ready and wanted, by environment: those with the most sessions by their names.
fn by_environment<'a>(all: &'a [(String, u64, crate::sessions::WarmView)]) -> (By<'a, u64>, By<'a, (u64, u64)>) {
    let mut all: Vec<_> = all.iter().collect();
    all.sort_by_key(|(_, sessions, _)| std::cmp::Reverse(*sessions));
    let (mut sessions, mut warm) = (BTreeMap::from([(OTHERS, 0)]), BTreeMap::from([(OTHERS, (0, 0))]));
    for (place, (name, count, stock)) in all.into_iter().enumerate() {
        let name: &'a str = if place < ENVIRONMENTS { name } else { OTHERS };
        *sessions.entry(name).or_default() += count;
        let of: &mut (u64, u64) = warm.entry(name).or_default();
        *of = (of.0 + u64::from(stock.ready), of.1 + u64::from(stock.wanted));
    }
    (sessions, warm)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sessions::WarmView;

    #[test]
    fn pull_requests_that_cannot_be_read_are_not_shown_as_none() {
        let shown = |pulls| {
            let (mut page, mut text) = (Page::default(), String::new());
            pull_requests(&mut page, pulls);
            prometheus_text::encode(&mut text, &page.into_registry()).unwrap();
            text
        };
        assert!(shown(Some(Pulls { open: 2, ended: 3 })).contains("pilothouse_pull_requests{state=\"open\"} 2"));
        assert!(!shown(None).contains("pull_requests"));
    }

    #[test]
    fn environments_beyond_the_largest_are_shown_together() {
        let stock = WarmView { ready: 1, wanted: 2, ..WarmView::default() };
        let all: Vec<_> = (0..70).map(|number| (format!("e{number:02}"), number, stock.clone())).collect();
        let (sessions, warm) = by_environment(&all);
        assert_eq!((sessions.len(), sessions[OTHERS], sessions["e69"]), (ENVIRONMENTS + 1, 190, 69));
        assert_eq!((warm[OTHERS], warm["e20"]), ((20, 40), (1, 2)));
        assert!(!sessions.contains_key("e19"));
    }
}
