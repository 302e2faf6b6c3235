//! Takes samples of all VMs that run, beside the looks at the host's memory.

use std::{os::unix::fs::MetadataExt as _, path::PathBuf, sync::Arc};

use hostd_core::{Lifecycle, UnixMillis};

use crate::{
    clock::now,
    sessions::{context::Context, registry::Handle, samples::Sample},
    vm::Vm,
};

/// A VM that is to be looked at.
struct Looked {
    handle: Arc<Handle>,
    vm: Arc<dyn Vm>,
    generation: u64,
    layer: PathBuf,
}

/// Takes a sample of each VM of which there is none from the last moments; forgets those of sessions that are on disk or were stopped.
pub(super) async fn take(ctx: &Context, handles: &[Arc<Handle>]) {
    let at = now();
    let due: Vec<Looked> = handles.iter().filter_map(|handle| looked(ctx, handle, at)).collect();
    if due.is_empty() {
        return;
    }
    // What cannot be looked at now is looked at again soon.
    let _ = tokio::task::spawn_blocking(move || due.into_iter().for_each(|looked| look(&looked, at))).await;
}

fn looked(ctx: &Context, handle: &Arc<Handle>, at: UnixMillis) -> Option<Looked> {
    let record = handle.record.borrow().clone();
    let Some(live) = handle.live.borrow().clone() else {
        if matches!(record.session.lifecycle, Lifecycle::Suspended | Lifecycle::Stopped { .. }) {
            handle.samples.forget();
        }
        return None;
    };
    let layer = ctx.folder(&handle.id).layer(&record.machine.disk);
    let generation = record.session.generation;
    handle.samples.is_due(at).then(|| Looked { handle: handle.clone(), vm: live.vm, generation, layer })
}

fn look(Looked { handle, vm, generation, layer }: &Looked, at: UnixMillis) {
    let usage = *handle.usage.borrow();
    let sample = Sample {
        at,
        memory: vm.memory().private,
        cpu: 0,
        disk: layer.metadata().map_or(0, |metadata| metadata.blocks().saturating_mul(512)),
        guest_memory_left: usage.memory_available,
        guest_disk_left: usage.disk_free,
    };
    // One that is gone by now has none.
    if sample.memory > 0 {
        handle.samples.add(*generation, sample, vm.processor_time());
    }
}
