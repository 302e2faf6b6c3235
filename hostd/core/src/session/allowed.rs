//! Destinations that people allow a session beside those of its recipe.

use super::{Denied, Session};
use crate::recipe::Egress;

/// Allows one, or changes what is said of one that is allowed already.
pub(super) fn add(s: &mut Session, egress: Egress) -> Result<(), Denied> {
    let count = s.allowed.len();
    match s.allowed.iter_mut().find(|known| known.to == egress.to) {
        Some(known) => *known = egress,
        None if count >= Session::ALLOWED => {
            let help = "take one back, or write them into the recipe of its environment";
            return Err(Denied(format!("{count} destinations are allowed to it already; {help}")));
        }
        None => s.allowed.push(egress),
    }
    Ok(())
}

/// Takes one back.
pub(super) fn remove(s: &mut Session, to: &str) -> Result<(), Denied> {
    let known = s.allowed.len();
    s.allowed.retain(|allowed| allowed.to != to);
    if s.allowed.len() < known {
        return Ok(());
    }
    let all: Vec<_> = s.allowed.iter().map(|allowed| allowed.to.as_str()).collect();
    let all = if all.is_empty() { "nothing".into() } else { all.join(", ") };
    Err(Denied(format!("{to} is not what it was allowed beside its recipe; that is {all}")))
}
