//! `usage`: what answers of models took.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use pilothouse_proto::hostd::v1::{Account, ModelUsage, UsageRequest};
use tui_core::text::{dollars, tokens};

use super::{
    args::{By, Usage},
    failure::Outcome,
    fleet::{Fleet, Host},
    format::plain,
    json, output,
    table::{Cell, Column, render},
};

/// Prints what answers of models took on all hosts together.
pub(crate) async fn run(fleet: &Fleet, options: Usage) -> Outcome {
    let request = || UsageRequest { by: options.by.word().into() };
    let answers = fleet.gather(async |host: &Host| host.ask(host.spending().usage(request())).await).await?;
    let dates: BTreeSet<_> = answers.iter().map(|answer| plain(&answer.it.prices_date)).collect();
    let accounts = together(answers.into_iter().flat_map(|answer| answer.it.accounts), options.by);
    if options.json {
        output::print_json(&accounts.iter().map(json::Account::new).collect::<Vec<_>>())?;
        return Ok(0);
    }
    if accounts.is_empty() {
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
    let rows: Vec<_> = accounts.iter().map(row).collect();
    output::print(&render(&columns, &rows, output::width(), output::colour()))?;
    output::note(&format!(
        "prices of {}, in US dollars; what is billed may differ",
        Vec::from_iter(dates).join(" and ")
    ));
    Ok(0)
}

/// Adds up accounts of several hosts: the most costly first, of days the newest, as each host has them.
fn together(accounts: impl Iterator<Item = Account>, by: By) -> Vec<Account> {
    let mut all: BTreeMap<String, Account> = BTreeMap::new();
    for account in accounts {
        match all.get_mut(&account.key) {
            None => drop(all.insert(account.key.clone(), account)),
            Some(sum) => sum.usage = Some(sum_of(&sum.usage.unwrap_or_default(), &account.usage.unwrap_or_default())),
        }
    }
    let mut all: Vec<_> = all.into_values().collect();
    match by {
        By::Day => all.reverse(),
        _ => all.sort_by_key(|account| Reverse(account.usage.unwrap_or_default().cost_micros)),
    }
    all
}

fn sum_of(one: &ModelUsage, other: &ModelUsage) -> ModelUsage {
    ModelUsage {
        answers: one.answers.saturating_add(other.answers),
        input_tokens: one.input_tokens.saturating_add(other.input_tokens),
        cache_read_tokens: one.cache_read_tokens.saturating_add(other.cache_read_tokens),
        cache_write_tokens: one.cache_write_tokens.saturating_add(other.cache_write_tokens),
        output_tokens: one.output_tokens.saturating_add(other.output_tokens),
        cost_micros: one.cost_micros.saturating_add(other.cost_micros),
        unpriced_tokens: one.unpriced_tokens.saturating_add(other.unpriced_tokens),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn account(key: &str, cost_micros: u64) -> Account {
        let usage = ModelUsage { answers: 1, cost_micros, ..Default::default() };
        Account { key: key.into(), usage: Some(usage), ..Default::default() }
    }

    #[test]
    fn hosts_are_added_up() {
        let of_hosts = || [account("a", 2), account("b", 3), account("c", 1), account("a", 2)].into_iter();
        let told = |by| {
            let all = together(of_hosts(), by);
            all.iter().map(|one| format!("{} {}", one.key, one.usage.unwrap().cost_micros)).collect::<Vec<_>>()
        };
        assert_eq!(told(By::Model), ["a 4", "b 3", "c 1"]);
        assert_eq!(told(By::Day), ["c 1", "b 3", "a 4"]);
        assert_eq!(together(of_hosts(), By::Model)[0].usage.unwrap().answers, 2);
    }
}
