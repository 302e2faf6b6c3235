//! Deletion.

use std::ops::ControlFlow;

use super::Supervisor;
use crate::{sessions::FleetError, store::StoreError};

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
        let directory = self.host.directory(id);
        fail::fail_point!("delete::before-files");
        match tokio::fs::remove_dir_all(&directory).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(format!("{}: {error}", directory.display()));
            }
            _ => {}
        }
        fail::fail_point!("delete::after-files");
        self.host.parts.store.remove(id).await.map_err(|error: StoreError| error.to_string())?;
        self.handle.terminal.end("the session was deleted".into());
        self.host.handles().remove(id);
        self.host.board.removed(id);
        self.host.parts.gateway.forget(id);
        self.host.shelf.look_again();
        Ok(())
    }
}
