//! A session's story, read and followed.

use std::{ops::Range, sync::Arc};

use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::CancellationToken;

use super::Fleet;
use crate::{
    sessions::error::FleetError,
    store::{ALL_EVENTS, Numbered, Store},
};

/// A session's story as it goes on.
pub struct Follow {
    store: Store,
    /// Whole id of the session.
    id: String,
    /// Number of the next event that may be told.
    next: i64,
    /// What the stories of all sessions gain.
    stories: broadcast::Receiver<Arc<Numbered>>,
    /// Cancelled when the session is gone.
    gone: CancellationToken,
}

impl Fleet {
    /// Events of a session with these numbers, oldest first: at most `limit`, the newest of them. The id of a session that is
    /// gone is to be given whole.
    ///
    /// # Errors
    /// As [`Fleet::get`], and where the store cannot be read.
    pub async fn events(&self, asked: &str, numbers: Range<i64>, limit: u32) -> Result<Vec<Numbered>, FleetError> {
        let found = self.handle(asked).map(|handle| handle.id.clone());
        let events = self.ctx().store.events(found.as_deref().unwrap_or(asked), numbers.clone(), limit).await?;
        match found {
            Err(error) if events.is_empty() && numbers == ALL_EVENTS => Err(error),
            _ => Ok(events),
        }
    }

    /// The story of the session of this whole id, from the event of this number on, until the session is gone.
    #[must_use]
    pub fn follow(&self, id: &str, next: i64) -> Follow {
        let store = self.ctx().store.clone();
        let stories = store.stories();
        let gone = self.registry().get(id).map(|handle| handle.gone.clone()).unwrap_or_else(|| {
            let gone = CancellationToken::new();
            gone.cancel();
            gone
        });
        Follow { store, id: id.into(), next, stories, gone }
    }
}

impl Follow {
    /// The next events, all that there are; waits for them. None: the session is gone, and all of its story was told.
    pub async fn next(&mut self) -> Option<Result<Vec<Numbered>, FleetError>> {
        loop {
            // Asked before the store is: what is told of its end is there then.
            let gone = self.gone.is_cancelled();
            match self.store.events(&self.id, self.next..i64::MAX, u32::MAX).await {
                Err(error) => return Some(Err(error.into())),
                Ok(new) if new.is_empty() && gone => return None,
                Ok(new) if new.is_empty() => self.goes_on().await,
                Ok(new) => {
                    self.next = new.last().map_or(self.next, |event| event.id + 1);
                    return Some(Ok(new));
                }
            }
        }
    }

    /// Waits until there may be more to tell.
    async fn goes_on(&mut self) {
        loop {
            tokio::select! {
                () = self.gone.cancelled() => return,
                story = self.stories.recv() => match story {
                    Ok(event) if event.event.session != self.id => {}
                    // Among those that were missed it may be.
                    Ok(_) | Err(RecvError::Lagged(_)) => return,
                    // The store has ended, and says so itself.
                    Err(RecvError::Closed) => return,
                },
            }
        }
    }
}
