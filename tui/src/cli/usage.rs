//! `usage`: what answers of models took.

use pilothouse_proto::hostd::v1::{Account, UsageRequest};
use tui_core::text::{dollars, tokens};

use super::{
    args::Usage,
    failure::Outcome,
    fleet::Fleet,
    format::plain,
    json, output,
    table::{Cell, Column, render},
};

/// Prints what answers of models took on a host.
pub(crate) async fn run(fleet: &Fleet, options: Usage) -> Outcome {
    let host = fleet.only("usage")?;
    let request = UsageRequest { by: options.by.word().into() };
    let answer = host.ask(host.spending().usage(request)).await?;
    if options.json {
        output::print_json(&answer.accounts.iter().map(json::Account::new).collect::<Vec<_>>())?;
        return Ok(0);
    }
    if answer.accounts.is_empty() {
        output::note("nothing yet; answers of models are counted where they pass with a credential of the host");
        return Ok(0);
    }
    let columns = [
        Column::flexible(options.by.title(), 12),
        Column::fixed("COST"),
        Column::fixed("ANSWERS"),
        Column::fixed("INPUT"),
        Column::fixed("CACHED").expendable(2),
        Column::fixed("OUTPUT"),
        Column::fixed("WITHOUT A PRICE").expendable(1),
    ];
    let rows: Vec<_> = answer.accounts.iter().map(row).collect();
    output::print(&render(&columns, &rows, output::width(), output::colour()))?;
    output::note(&format!("prices of {}, in US dollars; what is billed may differ", plain(&answer.prices_date)));
    Ok(0)
}

fn row(account: &Account) -> Vec<Cell> {
    let name = [&account.slug, &account.key].into_iter().find(|name| !name.is_empty());
    let usage = account.usage.unwrap_or_default();
    let unpriced = if usage.unpriced_tokens == 0 { String::new() } else { tokens(usage.unpriced_tokens) };
    vec![
        name.map_or("-".into(), |name| plain(name)).into(),
        dollars(usage.cost_micros).into(),
        usage.answers.to_string().into(),
        tokens(usage.input_tokens.saturating_add(usage.cache_write_tokens)).into(),
        tokens(usage.cache_read_tokens).into(),
        tokens(usage.output_tokens).into(),
        unpriced.into(),
    ]
}
