//! What people have allowed sessions beside their recipes.

use std::{borrow::Cow, sync::PoisonError};

use hostd_core::recipe::Egress;

use super::{Caller, Gateway};

impl Gateway {
    /// Sets what a session may reach beside what its recipe lists, from now on. What it was refused of that is forgotten.
    pub fn allow(&self, session: &str, allowed: &[Egress]) {
        self.refusals().allowed(session, allowed);
        let mut all = self.allowed.lock().unwrap_or_else(PoisonError::into_inner);
        if allowed.is_empty() {
            all.remove(session);
        } else {
            all.insert(session.into(), allowed.into());
        }
    }

    /// The caller, who may also reach what people have allowed it.
    pub(super) fn with_allowed<'a>(&self, caller: &'a Caller) -> Cow<'a, Caller> {
        let all = self.allowed.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(allowed) = all.get(&caller.session_id) else { return Cow::Borrowed(caller) };
        let mut caller = caller.clone();
        caller.egress.extend_from_slice(allowed);
        Cow::Owned(caller)
    }
}
