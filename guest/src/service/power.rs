use std::{convert::Infallible, io, sync::Arc};

use pilothouse_proto::guest::v1::{PowerOffResponse, QuiesceRequest, QuiesceResponse};
use tonic::Status;

use crate::machine::Machine;

pub(super) async fn quiesce(machine: Arc<dyn Machine>, request: QuiesceRequest) -> Result<QuiesceResponse, Status> {
    let done = tokio::task::spawn_blocking(move || {
        if request.freeze {
            machine.freeze(true)?;
        }
        machine.sync();
        let trimmed_bytes = if request.trim { machine.trim()? } else { 0 };
        Ok(QuiesceResponse { trimmed_bytes })
    });
    let done: io::Result<_> = done.await.map_err(|error| Status::internal(error.to_string()))?;
    done.map_err(|error| Status::failed_precondition(format!("the guest could not be quieted: {error}")))
}

pub(super) async fn off(machine: Arc<dyn Machine>) -> Result<PowerOffResponse, Status> {
    let done = tokio::task::spawn_blocking(move || Err::<Infallible, _>(machine.power_off()));
    match done.await {
        Ok(Err(error)) => Err(Status::internal(format!("the guest cannot power off: {error}"))),
        Ok(Ok(never)) => match never {},
        Err(error) => Err(Status::internal(error.to_string())),
    }
}
