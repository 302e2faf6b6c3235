//! `repo remove`: removes a repository, after a question.

use pilothouse_proto::hostd::v1::RemoveRepositoryRequest;

use super::repository::find;
use crate::cli::{failure::Outcome, fleet::Fleet, format::plain, output};

pub(super) async fn run(fleet: &Fleet, name: &str, yes: bool, force: bool) -> Outcome {
    let found = find(fleet, name).await?;
    let name = plain(&found.it.name);
    if !yes {
        let open = match found.it.open_pulls {
            0 => String::new(),
            1 => ", 1 pull request is open".into(),
            many => format!(", {many} pull requests are open"),
        };
        let question = format!(
            "  {name} on {}{open}\nAll its branches, pull requests and results of checks are lost. Remove? [y/N] ",
            found.host.name().await
        );
        output::confirm("repo remove deletes for good", &question, "nothing was removed")?;
    }
    let request = RemoveRepositoryRequest { name: found.it.name.clone(), force };
    // Without the patience for questions: large ones take time.
    let removed = found.host.repositories().remove_repository(request).await;
    removed.map_err(|status| found.host.failure(&status))?;
    output::print(&format!("removed {name}\n"))?;
    Ok(0)
}
