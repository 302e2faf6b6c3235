use crate::sessions::error::FleetError;

/// Which of these sessions (id, slug) `asked` names: its id or slug, or a unique prefix of one. Ids in any case.
pub(super) fn resolve<'a>(
    asked: &str,
    sessions: impl Iterator<Item = (&'a str, &'a str)> + Clone,
) -> Result<&'a str, FleetError> {
    if asked.is_empty() {
        return Err(FleetError::Invalid("the session's id is empty".into()));
    }
    let upper = asked.to_ascii_uppercase();
    let exact = |(id, slug): &(&str, &str)| *id == upper || *slug == asked;
    if let Some((id, _)) = sessions.clone().find(exact) {
        return Ok(id);
    }
    let mut found = sessions.filter(|(id, slug)| id.starts_with(&upper) || slug.starts_with(asked));
    match (found.next(), found.next()) {
        (None, _) => Err(FleetError::NotFound(asked.into())),
        (Some((id, _)), None) => Ok(id),
        (Some((_, first)), Some((_, second))) => {
            let candidates = [first, second].into_iter().chain(found.map(|(_, slug)| slug).take(8));
            Err(FleetError::Ambiguous { asked: asked.into(), candidates: candidates.map(str::to_owned).collect() })
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const SESSIONS: [(&str, &str); 4] =
        [("01AAB", "fix"), ("01AAC", "fix-readme"), ("01ABD", "tidy-one"), ("02ABD", "tidy-two")];

    #[rstest]
    #[case::id("01AAC", "01AAC")]
    #[case::any_case("01aac", "01AAC")]
    #[case::prefix("02", "02ABD")]
    #[case::slug("fix", "01AAB")]
    #[case::slug_prefix("fix-", "01AAC")]
    fn found(#[case] asked: &str, #[case] id: &str) {
        assert_eq!(resolve(asked, SESSIONS.into_iter()).unwrap(), id);
    }

    #[rstest]
    #[case::nothing("", "empty")]
    #[case::unknown("zzz", "no session `zzz`")]
    #[case::two_ids("01AA", "any of fix, fix-readme;")]
    #[case::two_slugs("tidy", "any of tidy-one, tidy-two;")]
    fn not_found(#[case] asked: &str, #[case] reason: &str) {
        let error = resolve(asked, SESSIONS.into_iter()).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}
