//! `budget`: sets what models may cost a session.

use pilothouse_proto::hostd::v1::SetBudgetRequest;

use super::{
    args::{Budget, BudgetChange},
    failure::Outcome,
    fleet::Fleet,
    json, output,
};

/// Returns when it is in force.
pub(crate) async fn run(fleet: &Fleet, options: Budget) -> Outcome {
    let found = fleet.session(&options.id).await?;
    let (micros, raise) = match options.amount {
        BudgetChange::Set(micros) => (micros, false),
        BudgetChange::Raise(micros) => (micros, true),
    };
    let request = SetBudgetRequest { id: found.it.id, micros, raise };
    let session = found.host.ask(found.host.sessions().set_budget(request)).await?;
    if options.json {
        output::print_json(&json::Session::new(&found.host.name().await, &session))?;
    }
    Ok(0)
}
