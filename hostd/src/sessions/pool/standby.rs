//! VMs without a guest that stand by for suspended sessions: of environments that keep warm VMs, by what
//! [`plan_standby`] says.

use std::sync::Arc;

use hostd_core::capacity::{Need, may_have_standby, plan_standby};

use crate::{
    sessions::{context::Context, disk::folder::sessions, registry::Registry},
    store::Record,
    vm::Standby,
};

/// Has those stand by that are wanted now; starts none while a session starts or waits, and has none in the way of who is
/// `waiting` for memory.
pub(super) async fn keep(ctx: &Arc<Context>, registry: &Registry, busy: bool, waiting: Option<Need>) {
    let mut kinds: Vec<(Standby, usize)> = Vec::new();
    for record in registry.records() {
        let kind = kind(ctx, &record);
        match kinds.iter_mut().find(|(other, _)| Some(other) == kind.as_ref()) {
            Some((_, sessions)) => *sessions += 1,
            None => kinds.extend(kind.map(|kind| (kind, 1))),
        }
    }
    let measured = ctx.clone();
    let Ok(room) = tokio::task::spawn_blocking(move || measured.room()).await else { return };
    let sessions: Vec<usize> = kinds.iter().map(|(_, sessions)| *sessions).collect();
    let held = ctx.vmm.standing_by().private;
    let planned = plan_standby(&sessions, &room, held, waiting);
    let wanted: Vec<Standby> = planned.into_iter().map(|kind| kinds[kind].0.clone()).collect();
    if wanted.is_empty() || !busy {
        ctx.vmm.stand_by(&wanted).await;
    }
    if wanted.is_empty() && held > 0 {
        ctx.admission.freed();
    }
}

/// What its next resume could take; None: it is not suspended, or its environment keeps nothing warm.
fn kind(ctx: &Context, record: &Record) -> Option<Standby> {
    let (session, machine) = (&record.session, &record.machine);
    let warm = ctx.environments.ready(&session.environment).ok()?.recipe.warm;
    if !may_have_standby(session, warm) {
        return None;
    }
    let template = machine.template.clone()?;
    let sessions = sessions(&ctx.data);
    let layers = machine.layers.iter().take_while(|layer| !layer.starts_with(&sessions)).cloned().collect();
    Some(Standby { template, size: session.size, cpu: machine.cpu, layers })
}
