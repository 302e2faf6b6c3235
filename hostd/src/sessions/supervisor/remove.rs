//! Deletion.

use std::{ops::ControlFlow, time::Duration};

use super::Supervisor;
use crate::sessions::error::FleetError;

impl Supervisor {
    pub(super) async fn remove(&mut self) -> ControlFlow<()> {
        // What would be kept of its end goes with it.
        let patience = self.patience.replace(Duration::ZERO);
        self.end().await;
        self.patience = patience;
        self.tasks.abort_all();
        let result = self.remove_files().await;
        for deleter in self.deleters.drain(..) {
            let _ = deleter.send(result.as_ref().map(|&()| ()).map_err(|why| FleetError::NotRemoved(why.clone())));
        }
        match result {
            Ok(()) => ControlFlow::Break(()),
            Err(error) => {
                tracing::error!(slug = self.session().slug, error, "the session was not removed");
                ControlFlow::Continue(())
            }
        }
    }

    async fn remove_files(&mut self) -> Result<(), String> {
        let id = self.handle.id.clone();
        fail::fail_point!("delete::before-files");
        let removed = self.site.folder.remove().await;
        removed.map_err(|error| format!("{}: {error}", self.site.folder.path().display()))?;
        fail::fail_point!("delete::after-files");
        self.forget().await.map_err(|error| error.to_string())?;
        self.handle.terminal.end("the session was deleted".into());
        self.all.registry.remove(&id);
        self.ctx.feed.removed(&id);
        self.ctx.gateway.forget(&id);
        self.ctx.meter.forget(&id);
        self.all.build_gc.look_again();
        Ok(())
    }
}
