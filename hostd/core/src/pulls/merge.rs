use super::{PullRequest, PullState, Refusal, Rules, Verdict, Who, step::short};
use crate::checks::{Check, Outcome, outcome};

/// Checks whether `who`, who saw the head commit `head`, may merge the pull request now.
///
/// # Errors
/// The [`Refusal`] that most deserves to be told.
pub fn may_merge(pull: &PullRequest, rules: &Rules, checks: &[Check], who: &Who, head: &str) -> Result<(), Refusal> {
    if pull.state != PullState::Open {
        return Err(Refusal::NotOpen { number: pull.number, state: pull.state.word() });
    }
    if who.session.is_some() {
        return Err(Refusal::NotAPerson { what: "merging" });
    }
    if head != pull.head() {
        return Err(Refusal::moved(pull, head));
    }
    let verdicts = pull.verdicts();
    if let Some(review) = verdicts.iter().find(|review| review.verdict == Verdict::RequestChanges) {
        return Err(Refusal::ChangesRequested { by: review.who.name.clone(), revision: review.revision });
    }
    approved(pull, rules)?;
    if rules.required_checks.is_empty() {
        return Ok(());
    }
    match outcome(&rules.required_checks, checks) {
        Outcome::Passed | Outcome::Nothing => Ok(()),
        Outcome::Failed { name, state, .. } => Err(Refusal::ChecksFailed { name, state: state.word() }),
        Outcome::Pending { open, .. } => {
            Err(Refusal::ChecksMissing { head: short(pull.head()), names: open.join(", ") })
        }
    }
}

fn approved(pull: &PullRequest, rules: &Rules) -> Result<(), Refusal> {
    let verdicts = pull.verdicts();
    let approvals = || verdicts.iter().filter(|review| review.verdict == Verdict::Approve);
    let have = approvals().filter(|review| review.head == pull.head()).count();
    let needed = rules.approvals as usize;
    if have >= needed {
        return Ok(());
    }
    match approvals().find(|review| review.head != pull.head()) {
        Some(old) => Err(Refusal::ApprovalOutdated {
            by: old.who.name.clone(),
            approved: old.revision,
            revision: pull.revision(),
        }),
        None => Err(Refusal::NotApproved { have, needed }),
    }
}
