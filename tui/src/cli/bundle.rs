//! `bundle`: all that tells why a session ended, in a file for a report.

use std::{fs::File, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path};

use pilothouse_proto::hostd::v1::BundleRequest;

use super::{
    args::Bundle,
    failure::{Failure, Outcome},
    fleet::Fleet,
    format::plain,
    output,
};

/// Largest bundle that is taken, in bytes; hostd makes none that is nearly as large.
const MAX: usize = 256 << 20;

/// Writes the bundle of a session into a file, or to stdout.
pub(crate) async fn run(fleet: &Fleet, options: Bundle) -> Outcome {
    let found = fleet.session(&options.id).await?;
    let request = BundleRequest { id: found.it.id.clone() };
    let asked = found.host.sessions().bundle(request).await.map_err(|status| found.host.failure(&status))?;
    let mut pieces = asked.into_inner();
    let mut tar = Vec::new();
    while let Some(piece) = pieces.message().await.map_err(|status| found.host.failure(&status))? {
        tar.extend_from_slice(&piece.data);
        if tar.len() > MAX {
            return Err(Failure::failed(format!(
                "the bundle has more than {} MiB; no host makes such a one",
                MAX >> 20
            )));
        }
    }
    let out = options.out.unwrap_or_else(|| format!("{}.tar", found.it.slug.replace(['/', '\0'], "-")));
    if out == "-" {
        output::write(&tar)?;
        return Ok(0);
    }
    write(Path::new(&out), &tar)?;
    output::note(&format!(
        "wrote {}; the task, the messages and the terminal are in clear in it: read session.json, triage.json, story.jsonl and the logs before you pass it on",
        plain(&out)
    ));
    Ok(0)
}

/// Writes a file that nobody else may read, and that is not there yet.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        let failure = Failure::failed(format!("{}: {error}", path.display()));
        failure.hint("name another file with --out")
    };
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(bytes).map_err(failed)
}
