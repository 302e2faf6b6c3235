//! Back from disk, or on where a VM was brought to a stand: in both the guest's processes are frozen until it has shaken hands.

use std::{io, sync::Arc, time::Duration};

use hostd_core::{Cause, session::Due};
use pilothouse_proto::guest::v1::AnswerRequest;
use tokio_util::sync::CancellationToken;

use super::{
    phases::Clock,
    running::Running,
    site::Site,
    spec::{access, caller, identity, spec},
    start::{NotStarted, Started},
};
use crate::{
    guest::{Greeting, Link},
    guest_vm::{GuestVm, HANDSHAKE, Met},
    sessions::disk::{folder::top, next_layer},
    store::{Machine, Record},
    terminals::Pump,
    vm::{VmError, snapshot::store::Manifest},
};

/// What can be done about a snapshot that cannot be used.
pub(super) const OFFER: &str = "; put back what has changed and resume it, or restart it: \
    that boots it from its disk as it was suspended, and gives up its memory";

/// Most times that a terminal's log is opened, and the pause between two.
const LOG_TRIES: u32 = 10;
const LOG_PAUSE: Duration = Duration::from_millis(500);

/// Why a session is not on disk now.
pub(in crate::sessions) enum Awake {
    /// The VM runs on.
    Runs {
        /// The VM, as it ran before.
        running: Running,
        /// Why the session is not on disk, with what to do.
        why: String,
    },
    /// The VM is gone, for this cause.
    Ended(Cause),
    /// hostd ends, and the VM is left to the next one.
    Left,
}

/// A VM that stands still goes on as if nothing had been, or is gone.
pub(in crate::sessions) async fn run_on(
    site: &Site,
    record: &Record,
    generation: u64,
    guest: GuestVm,
    why: String,
) -> Awake {
    forget_published(site, record).await;
    site.may_run().await;
    if let Err(error) = guest.vm().go_on().await {
        if !guest.give_up().await {
            return Awake::Left;
        }
        return Awake::Ended(Cause::VmDied(format!("{why}; and then it did not go on: {error}")));
    }
    match wake(site, record, generation, &guest, site.terminal.offset(), None, HANDSHAKE).await {
        Ok(woken) => Awake::Runs { running: runs(site, record, generation, guest, woken), why },
        Err(error) if guest.give_up().await => {
            Awake::Ended(Cause::VmDied(format!("{why}; and then its guest was silent: {error}")))
        }
        Err(_) => Awake::Left,
    }
}

/// Forgets a snapshot that was published and is of a moment that the disk is about to leave.
pub(super) async fn forget_published(site: &Site, record: &Record) {
    let folder = site.folder.snapshot();
    let published = tokio::task::spawn_blocking(move || Manifest::read(&folder)).await;
    if published.is_ok_and(|read| read.is_ok_and(|manifest| manifest.disk == record.machine.disk)) {
        site.folder.forget_snapshot().await;
    }
}

/// Brings a suspended session back, as this generation.
pub(in crate::sessions) async fn resume(
    site: Site,
    generation: u64,
    cancel: CancellationToken,
) -> Result<Started, NotStarted> {
    let record = site.record();
    let failed = |why: String| NotStarted::Failed(why);
    let Some(snapshot) = record.machine.snapshot.clone() else {
        return Err(failed("it has no snapshot; restart it to boot it from its disk".into()));
    };
    let mut clock = Clock::new();
    let machine = Machine { disk: top(generation), ..record.machine.clone() };
    let above = Record { session: record.session.clone(), machine };
    let (name, bytes) = (&above.machine.disk, record.session.size.disk);
    let top = site.folder.layer(name);
    let put = next_layer::put(&*site.vmm, &site.folder, name, bytes).await;
    put.map_err(|error| failed(error.to_string()))?;
    clock.phase("disk");
    fail::fail_point!("resume::before-vm");
    let began = GuestVm::resume(&*site.vmm, spec(&above, &site.folder), &snapshot.folder).await;
    let guest = match began {
        Ok(guest) => guest,
        Err(error) => {
            let _ = tokio::fs::remove_file(&top).await;
            let help = if matches!(error, VmError::Snapshot(_)) { OFFER } else { "" };
            return Err(failed(format!("{error}{help}")));
        }
    };
    clock.phase("vm");
    fail::fail_point!("resume::after-vm");
    let due = above.session.due();
    let result = tokio::select! {
        () = cancel.cancelled() => Err(NotStarted::Cancelled),
        up = guest.unless_it_ends(wake(&site, &above, generation, &guest, snapshot.terminal, due.as_ref(), HANDSHAKE)) => match up {
            Ok(up) => up.map_err(failed),
            Err(cause) => Err(NotStarted::Ended(cause)),
        },
    };
    match result {
        Ok(woken) => {
            let took_answer = woken.took_answer;
            let running = runs(&site, &above, generation, guest, woken);
            clock.phase("handshake");
            let phases = clock.phases;
            Ok(Started {
                running,
                machine: Machine { phases, ..above.machine },
                anew: false,
                answered: due.filter(|_| took_answer).map(Box::new),
                why_booted: None,
                broken: None,
            })
        }
        Err(why) => {
            guest.end().await;
            let _ = tokio::fs::remove_file(&top).await;
            Err(why)
        }
    }
}

/// A guest whose processes run on.
pub(super) struct Woken {
    link: Arc<Link>,
    pump: Pump,
    /// To be cancelled when the guest has opened its terminal.
    terminal_open: CancellationToken,
    /// Whether the agent's wait took the answer that was due.
    took_answer: bool,
}

/// Shakes hands with a guest that was frozen, which lets its processes run, and goes on with its terminal. An answer that is due
/// goes along: an emulated guest would first have to translate all that a call of its own needs.
pub(super) async fn wake(
    site: &Site,
    record: &Record,
    generation: u64,
    guest: &GuestVm,
    terminal: u64,
    due: Option<&Due>,
    within: Duration,
) -> Result<Woken, String> {
    site.may_run().await;
    let access = access(&record.machine, &site.folder).await.of(&record.session.owner);
    let trust = site.gateway.trust(&access, &record.session.environment);
    let identity = identity(&record.session, generation).trusting(trust);
    let caller = caller(&record.session, &record.machine, access);
    // What the guest would do for its tunnel meanwhile would be in the way of what its agent shows.
    let terminal_open = CancellationToken::new();
    let greeting = Greeting::from(identity).answering(due.map(request)).tunnel_after(terminal_open.clone());
    let shows = greeting.brings_answer().then_some(terminal);
    let greeting = greeting.showing_from(shows);
    let met = guest.meet_within(within, greeting, &site.gateway, caller).await;
    let met = met.map_err(|error| error.to_string())?;
    let Met { link, hello } = met;
    // A guest of an earlier Pilothouse says nothing of it, and is called.
    let took_answer = hello.handshake.answered.is_some_and(|answered| answered.known);
    let mut pump = pump(site, terminal).await.map_err(|error| format!("the terminal's log: {error}"))?;
    if let Some(shown) = &hello.first_output {
        pump.take(shown.offset, shown.output.clone()).await;
    }
    Ok(Woken { link, pump, terminal_open, took_answer })
}

/// What carries its terminal on. A host that has no more open files now may have some in a moment: no VM is given up for that.
async fn pump(site: &Site, terminal: u64) -> io::Result<Pump> {
    for _ in 1..LOG_TRIES {
        match Pump::go_on(site.terminal.clone(), terminal).await {
            Ok(pump) => return Ok(pump),
            Err(error) => tracing::warn!(%error, "a terminal's log is not open yet"),
        }
        tokio::time::sleep(LOG_PAUSE).await;
    }
    Pump::go_on(site.terminal.clone(), terminal).await
}

/// What the guest is told of an answer.
pub(in crate::sessions) fn request(due: &Due) -> AnswerRequest {
    AnswerRequest { wait: due.wait, json: serde_json::to_string(&due.answer).unwrap_or_default() }
}

/// The VM as it runs from now on.
pub(super) fn runs(site: &Site, record: &Record, generation: u64, guest: GuestVm, woken: Woken) -> Running {
    let Woken { link, pump, terminal_open, .. } = woken;
    Running::new(generation, guest, link, pump, record.machine.heard, terminal_open, site)
}
