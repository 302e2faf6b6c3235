use std::ffi::OsString;

use clap::Args;

use crate::cli::complete;

/// Arguments of `pilothouse diff`.
#[derive(Debug, Args)]
#[command(
    after_help = "A session's working tree is compared with the merge base of its HEAD and its environment's branch;
files that git does not track yet are in it, ignored ones are not. Of a suspended session it is as
it was when it was suspended; it is not woken: the first time, its host reads it from a copy of its
VM, which takes some seconds and the room of a VM. On a terminal it is coloured; elsewhere it is a
patch that `git apply` takes.

Examples:
  pilothouse diff fix-parser
  pilothouse diff fix-parser --stat
  pilothouse diff fix-parser --name-only -z | xargs -0 wc -l
  pilothouse diff widgets#12 --revisions 1..2 -- src
  pilothouse diff --repo widgets main..agent/fix-parser/work | git apply --stat
  pilothouse diff --repo widgets v1...main --json | jq -r '.files[].new_path'"
)]
pub(crate) struct Diff {
    /// A session (slug, id, or a unique prefix), a pull request (REPOSITORY#NUMBER or #NUMBER), or, with --repo,
    /// revisions: A..B, or A...B for what B changed since it left A
    #[arg(value_name = "SESSION|PR|A..B", add = complete::changes())]
    pub(crate) what: String,
    /// Name of the repository of which two revisions are compared
    #[arg(long, value_name = "NAME")]
    pub(crate) repo: Option<String>,
    /// Numbers of two revisions of the pull request: show what changed from one to the other [default: all that it changes]
    #[arg(long, value_name = "N..M", value_parser = revisions, conflicts_with = "repo")]
    pub(crate) revisions: Option<(u32, u32)>,
    /// Print numbers of added and removed lines of each file
    #[arg(long, groups = ["form", "names"])]
    pub(crate) stat: bool,
    /// Print the names of the changed files alone
    #[arg(long, groups = ["form", "names"])]
    pub(crate) name_only: bool,
    /// Print a JSON object
    #[arg(long, group = "form")]
    pub(crate) json: bool,
    /// With --name-only: end each name with a NUL, whatever is in it. With --stat: for each file the added lines, the removed
    /// lines (`-` where there are none to count) and the name, with TABs between; of a renamed file an empty name, and
    /// then both of its names, each ended with a NUL
    #[arg(short = 'z', conflicts_with = "json", requires = "names")]
    pub(crate) nul: bool,
    /// Number of unchanged lines around each change, from 0 to 100
    #[arg(long, short = 'U', value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(..=100))]
    pub(crate) unified: u32,
    /// Files and folders to compare [default: all]
    #[arg(last = true, value_name = "PATH")]
    pub(crate) paths: Vec<OsString>,
}

fn revisions(text: &str) -> Result<(u32, u32), String> {
    let wrong = || format!("`{text}` is no pair of revisions; write it like 1..2");
    let (from, to) = text.split_once("..").ok_or_else(wrong)?;
    let number = |text: &str| text.parse().ok().filter(|number| *number > 0).ok_or_else(wrong);
    Ok((number(from)?, number(to)?))
}
