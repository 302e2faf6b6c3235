//! On whose behalf something was done, in words.

use pilothouse_proto::hostd::v1::Actor;

use crate::foreign::plain;

/// Words for an actor; None, and what only a newer host knows, is the host itself.
pub(crate) fn words(actor: Option<&Actor>) -> String {
    let Some(Actor { kind, name, person }) = actor else { return "hostd".into() };
    match kind.as_str() {
        "session" if person.is_empty() => format!("agent {}", plain(name)),
        "session" => format!("agent of {}", plain(person)),
        "forge" => format!("forge {}", plain(name)),
        "person" => plain(name),
        _ => "hostd".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_is_named_by_what_acts_and_for_whom() {
        let actor = |kind: &str, name: &str, person: &str| {
            words(Some(&Actor { kind: kind.into(), name: name.into(), person: person.into() }))
        };
        assert_eq!(actor("person", "a\x1b[31mnn", "ann"), "a[31mnn");
        assert_eq!(actor("session", "fix", "ann"), "agent of ann");
        assert_eq!(actor("session", "fix", ""), "agent fix");
        assert_eq!(actor("forge", "local", ""), "forge local");
        assert_eq!(
            (actor("host", "", ""), actor("ghost", "x", ""), words(None)),
            ("hostd".into(), "hostd".into(), "hostd".into())
        );
    }
}
