//! What a session has changed, as its guest knows it.

use crate::{diff::WorkingTree, guest::Hello, store::Record};

/// Where a session's working tree is, in this guest.
pub(in crate::sessions) fn working_tree(record: &Record, hello: &Hello) -> WorkingTree {
    WorkingTree {
        guest: hello.client.clone(),
        repository: record.session.repository.clone().unwrap_or_default(),
        path: record.session.directory.clone(),
        branch: record.machine.branch.clone(),
        user: record.machine.user.clone(),
        frozen: false,
    }
}
