//! Deletion.

use std::ops::ControlFlow;

use super::Supervisor;
use crate::{sessions::error::FleetError, store::StoreError};

impl Supervisor {
    pub(super) async fn remove(&mut self) -> ControlFlow<()> {
        self.end().await;
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

    async fn remove_files(&self) -> Result<(), String> {
        let id = &self.handle.id;
        fail::fail_point!("delete::before-files");
        let removed = self.site.folder.remove().await;
        removed.map_err(|error| format!("{}: {error}", self.site.folder.path().display()))?;
        fail::fail_point!("delete::after-files");
        self.ctx.store.remove(id).await.map_err(|error: StoreError| error.to_string())?;
        self.handle.terminal.end("the session was deleted".into());
        self.all.registry.remove(id);
        self.ctx.feed.removed(id);
        self.ctx.gateway.forget(id);
        self.all.build_gc.look_again();
        Ok(())
    }
}
