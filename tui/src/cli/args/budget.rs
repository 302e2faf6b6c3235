//! Amounts of money, and arguments of `budget`.

use clap::Args;

use crate::cli::complete;

/// Millionths of a dollar.
const DOLLAR: u64 = 1_000_000;
/// Greatest budget, in dollars.
const MOST: u64 = 1_000_000;

/// Arguments of `pilothouse budget`.
#[derive(Debug, Args)]
#[command(
    after_help = "What models cost is counted where their answers pass with a credential of the host. Once the budget
is used up, the session's next request to a model is refused, and it is your turn. A higher budget
lets it go on; where its agent has ended its turn meanwhile, send it a message too.

Examples:
  pilothouse budget fix-parser 5
  pilothouse budget fix-parser +2.50
  pilothouse budget fix-parser none
  pilothouse budget fix-parser +5 && pilothouse send fix-parser Go on"
)]
pub(crate) struct Budget {
    /// Session: its slug, its id, or a unique prefix of either
    #[arg(value_name = "SESSION", add = complete::sessions())]
    pub(crate) id: String,
    /// Amount in US dollars that the session may spend in all; with a plus, by which the budget is raised; none: any amount
    #[arg(value_parser = change)]
    pub(crate) amount: BudgetChange,
    /// Print the session as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What is to become of a budget. Amounts are millionths of a US dollar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BudgetChange {
    /// The budget is to be this amount; 0: none.
    Set(u64),
    /// The budget is to be raised by this amount.
    Raise(u64),
}

fn change(text: &str) -> Result<BudgetChange, String> {
    match text.strip_prefix('+') {
        Some(more) if more != "none" => amount(more).map(BudgetChange::Raise),
        _ => amount(text).map(BudgetChange::Set),
    }
}

/// Parses an amount of dollars: `5`, `$5`, `2.50`; or none, which is 0. Returns millionths of a dollar.
pub(crate) fn amount(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no amount of US dollars; write 5, 2.50 or none (at most {MOST})");
    if text == "none" {
        return Ok(0);
    }
    let number = text.strip_prefix('$').unwrap_or(text);
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str, most| (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole, 7) || !digits(part, 6) {
        return Err(wrong());
    }
    let micros = format!("{part:0<6}").parse::<u64>().map_err(|_| wrong())?;
    let amount = whole.parse::<u64>().map_err(|_| wrong())? * DOLLAR + micros;
    if (1..=MOST * DOLLAR).contains(&amount) { Ok(amount) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("5", Ok(BudgetChange::Set(5_000_000)))]
    #[case("$2.5", Ok(BudgetChange::Set(2_500_000)))]
    #[case("0.000001", Ok(BudgetChange::Set(1)))]
    #[case("none", Ok(BudgetChange::Set(0)))]
    #[case("+2.50", Ok(BudgetChange::Raise(2_500_000)))]
    #[case("1000000", Ok(BudgetChange::Set(1_000_000_000_000)))]
    #[case("0", Err(()))]
    #[case("1000000.01", Err(()))]
    #[case("-1", Err(()))]
    #[case("5.", Err(()))]
    #[case(".5", Err(()))]
    #[case("1e3", Err(()))]
    #[case("+none", Err(()))]
    #[case("", Err(()))]
    fn amounts(#[case] text: &str, #[case] expected: Result<BudgetChange, ()>) {
        assert_eq!(change(text).map_err(|_| ()), expected);
    }
}
