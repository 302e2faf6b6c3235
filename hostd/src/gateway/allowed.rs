//! What people have allowed sessions beside their recipes.

use std::{borrow::Cow, sync::PoisonError};

use hostd_core::recipe::Egress;

use super::{Caller, Gateway, egress::Destination};

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

    /// Whether the destination is by its name one of the host's own services or of its networks.
    pub(crate) fn is_private(&self, egress: &Egress) -> bool {
        let place = egress.parts().map(|(host, port)| Destination { host: host.into(), port });
        place.is_some_and(|place| place.is_private())
    }

    /// Whether a recipe may be given this destination for a session that asked for it. Where it is one of the host's own services or
    /// of its networks, only if the host's file decides on those: else the recipe alone would.
    #[must_use]
    pub fn may_be_in_recipe(&self, egress: &Egress) -> bool {
        !(egress.private || self.is_private(egress)) || self.local.as_ref().is_some_and(|local| local.named().is_some())
    }

    /// The caller, who may also reach what people have allowed it.
    pub(super) fn with_allowed<'a>(&self, caller: &'a Caller) -> Cow<'a, Caller> {
        let all = self.allowed.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(allowed) = all.get(&caller.session_id) else { return Cow::Borrowed(caller) };
        let mut caller = caller.clone();
        caller.beside.people = allowed.to_vec();
        Cow::Owned(caller)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        forge::BareRepositories,
        local_services::{FILE, LocalFile},
    };

    #[test]
    fn a_recipe_is_given_private_destinations_where_the_host_decides_on_them() {
        let folder = tempfile::tempdir().unwrap();
        let gateway = Gateway::new(BareRepositories::at("/nowhere".into())).with_local(LocalFile::of(folder.path()));
        let may = |to: &str, private| gateway.may_be_in_recipe(&Egress::parse(to, private).unwrap());
        assert!(may("a.example", false));
        let private =
            [("a.example", true), ("host.pilothouse.internal:1", false), ("10.0.0.1", false), ("[::1]:1", false)];
        assert!(private.iter().all(|&(to, private)| !may(to, private)));
        std::fs::write(folder.path().join(FILE), "local = []").unwrap();
        assert!(private.iter().all(|&(to, private)| may(to, private)));
    }
}
