//! `answer`: allows or denies what an agent's program needs a permission for.

use pilothouse_proto::hostd::v1::AnswerRequest;

use super::{
    args::{Answer, Verdict},
    failure::{DENIED, Failure, Outcome},
    fleet::Fleet,
    format::plain,
    json, output, waiting,
};

/// Answers the permission that is named, or the one that is asked for now, and says what was answered.
pub(crate) async fn run(fleet: &Fleet, options: Answer) -> Outcome {
    let found = fleet.session(&options.id).await?;
    let slug = plain(&found.it.slug);
    let asked = found.it.permission.clone();
    let permission = match (options.permission, &asked) {
        (Some(id), _) => id,
        (None, Some(asked)) => asked.id.clone(),
        (None, None) => {
            let hint = format!("`pilothouse show {slug}` says what it does");
            return Err(Failure::new(DENIED, format!("{slug} needs no permission")).hint(hint));
        }
    };
    let allow = options.answer == Verdict::Allow;
    let request = AnswerRequest { id: found.it.id.clone(), permission: permission.clone(), allow };
    let what = waiting::before_it_runs(&found.it).unwrap_or_else(|| format!("answering {slug}"));
    let mut sessions = found.host.sessions();
    let answer = waiting::shown(&what, sessions.answer(request)).await.map_err(|status| found.host.failure(&status))?;
    if options.json {
        output::print_json(&json::Session::new(&found.host.name().await, &answer.into_inner()))?;
    } else {
        // Where it is not the one that was named, the host has refused.
        let asked = asked.filter(|asked| asked.id == permission).unwrap_or_default();
        let (done, keys) = if allow { ("allowed", &asked.allow) } else { ("denied", &asked.deny) };
        output::print(&format!("{done}: {} (pressed {})\n", plain(&asked.text), plain(&keys.join(" "))))?;
    }
    Ok(0)
}
