use std::path::PathBuf;

use clap::Args;

/// Arguments of `pilothouse cp`.
#[derive(Debug, Args)]
#[command(
    after_help = "A path in a session is SESSION:PATH; a relative one begins at the agent's directory. A file here
whose name has a colon is written ./NAME. Where the last path is a folder, what is copied comes
into it, else it gets that name. Folders are copied with all that is in them. Permissions, times and
links are kept; owners are not. What is neither file, folder nor link is left out and told.

What is there already is not written over without --force; folders that are there are filled. A
suspended session is resumed.

Examples:
  pilothouse cp fix-parser:target/report.html .
  pilothouse cp data.csv fix-parser:/tmp/
  pilothouse cp --force src tests fix-parser:
  pilothouse cp fix-parser:/var/log ./log-of-it"
)]
pub(crate) struct Cp {
    /// What to copy, and last where to; one side is in a session
    #[arg(value_name = "[SESSION:]PATH", required = true, num_args = 2..)]
    pub(crate) paths: Vec<Side>,
    /// Replace files that are there already
    #[arg(long, short = 'f')]
    pub(crate) force: bool,
    /// User of the VM who reads or writes there [default: the agent's]
    #[arg(long, short = 'u', value_name = "NAME", default_value = "", hide_default_value = true)]
    pub(crate) user: String,
    /// Most bytes of each path to take from a session, in KiB, MiB or GiB with K, M or G
    #[arg(long, value_name = "SIZE", default_value = "16G", value_parser = size)]
    pub(crate) limit: u64,
    /// Print a JSON array of what was copied
    #[arg(long)]
    pub(crate) json: bool,
}

/// A path, and which side it is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// A path on this machine.
    Here(PathBuf),
    /// A path in a session.
    There {
        /// Session: its slug, its id, or a unique prefix of either.
        id: String,
        /// Path in its VM; a relative one begins at the agent's directory.
        path: String,
    },
}

impl std::str::FromStr for Side {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("", _)) => Err("say SESSION:PATH, or ./NAME for a file whose name begins with a colon".into()),
            Some((id, path)) if !id.contains('/') => {
                let path = if path.is_empty() { "." } else { path };
                Ok(Self::There { id: id.into(), path: path.into() })
            }
            _ if text.is_empty() => Err("the path is empty".into()),
            _ => Ok(Self::Here(text.into())),
        }
    }
}

fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = match text.char_indices().last() {
        Some((at, 'K' | 'k')) => (&text[..at], 10),
        Some((at, 'M' | 'm')) => (&text[..at], 20),
        Some((at, 'G' | 'g')) => (&text[..at], 30),
        _ => (text, 0),
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << unit)).filter(|bytes| *bytes > 0);
    bytes.ok_or_else(|| "say a number of bytes, or one with a unit, such as 500M or 16G".into())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::{Side, size};

    #[rstest]
    #[case("1", Some(1))]
    #[case("3k", Some(3 << 10))]
    #[case("16G", Some(16 << 30))]
    #[case("0", None)]
    #[case("-1", None)]
    #[case("G", None)]
    #[case("99999999999G", None)]
    fn sizes_have_units(#[case] text: &str, #[case] want: Option<u64>) {
        assert_eq!(size(text).ok(), want);
    }

    fn there(id: &str, path: &str) -> Option<Side> {
        Some(Side::There { id: id.into(), path: path.into() })
    }

    #[rstest]
    #[case("report.html", Some(Side::Here("report.html".into())))]
    #[case("./a:b", Some(Side::Here("./a:b".into())))]
    #[case("/tmp/a:b", Some(Side::Here("/tmp/a:b".into())))]
    #[case("fix-parser:", there("fix-parser", "."))]
    #[case("fix-parser:/tmp/", there("fix-parser", "/tmp/"))]
    #[case("fix-parser:a:b", there("fix-parser", "a:b"))]
    #[case(":a", None)]
    #[case("", None)]
    fn a_side_is_told_by_its_colon(#[case] text: &str, #[case] want: Option<Side>) {
        assert_eq!(text.parse().ok(), want);
    }
}
