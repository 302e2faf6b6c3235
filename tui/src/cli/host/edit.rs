//! `host add` and `host rm`.

use super::{
    super::{
        failure::{Failure, NOT_FOUND, Outcome},
        fleet::{Fleet, Host},
        format::plain,
        output, waiting,
    },
    test::reach,
};
use crate::client::{ConfigFile, Endpoint, HostAddress, Hosts, quoted};

/// Reaches for the host, and adds it.
pub(super) async fn add(name: &str, address: &str, hostd: Option<String>, unreached: bool) -> Outcome {
    let before = Hosts::load()?;
    let address = absolute(address);
    let add = || -> Result<(ConfigFile, HostAddress), Failure> {
        let mut file = ConfigFile::open()?;
        let added = file.add(name, &address, hostd.as_deref())?;
        Ok((file, added))
    };
    let (_, added) = add()?;
    let fleet = Fleet::new(vec![added]);
    let reached = waiting::shown("waiting for the host", reach_all(&fleet)).await;
    if let Err(failure) = reached {
        if !unreached {
            return Err(failure.hint("nothing was added; `--unreached` adds it all the same"));
        }
        output::note(&format!("warning: {}", failure.message));
    }
    // What a person or another command has written meanwhile stays.
    let (file, _) = add()?;
    file.write()?;
    output::print(&format!("{} is in {}\n", plain(name), file.path().display()))?;
    if let Some(Endpoint::Unix(near)) = before.unconfigured()
        && near.exists()
        && address != format!("unix:{}", near.display())
    {
        output::note(&format!(
            "the hostd on this machine is asked no more now that hosts are configured; `pilothouse host add near unix:{}` \
             adds it",
            near.display()
        ));
    }
    Ok(0)
}

async fn reach_all(fleet: &Fleet) -> Result<(), Failure> {
    for host in fleet.hosts() {
        let _: (String, _, _) = reach(host as &Host).await?;
    }
    Ok(())
}

/// The same address, as it reads from any folder; one that is none is refused later.
fn absolute(address: &str) -> String {
    let endpoint = address.parse::<Endpoint>().ok().and_then(|endpoint| endpoint.absolute().ok());
    endpoint.and_then(|endpoint| endpoint.to_text()).unwrap_or_else(|| address.to_owned())
}

/// Takes the host out of the file.
pub(super) fn remove(name: &str) -> Outcome {
    let mut file = ConfigFile::open()?;
    let Some(address) = file.remove(name) else {
        let missing =
            Failure::new(NOT_FOUND, format!("there is no host `{}` in {}", plain(name), file.path().display()));
        return Err(missing.hint("`pilothouse host ls` lists them"));
    };
    file.write()?;
    let words: Vec<_> = address.iter().map(|word| plain(&quoted(word))).collect();
    let (name, address) = (plain(name), words.join(" "));
    output::print(&format!(
        "{name} is out of {}; to undo: pilothouse host add {name} {address}\n",
        file.path().display()
    ))?;
    Ok(0)
}
