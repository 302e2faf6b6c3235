//! `hostd install`, `hostd upgrade`, `hostd uninstall`.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use eyre::Context as _;
use hostd::service::{self, Place, Plan, Scope};

use crate::confirmed;

pub(crate) const INSTALL: &str = "Examples:
  hostd install --user --dry-run
      says what it would do
  hostd install --user
      a service of your own systemd, with the programs in ~/.local/bin; `loginctl enable-linger` has it run without you
  sudo hostd install --system
      a service of the machine, as the user pilothouse, with its data in /var/lib/pilothouse
  hostd install --system --root build/package
      puts the same files below a folder, for a package; systemd is not told

Installing again replaces what is there, and restarts the service; VMs of sessions run on. A unit that hostd did not write is asked
about, and kept as hostd.service.old.";

pub(crate) const UPGRADE: &str = "Examples:
  hostd upgrade ./pilothouse-0.2/hostd
      replaces the installed programs by those, and restarts the service
  hostd upgrade ./pilothouse-0.2 --dry-run
      says what it would do

VMs of sessions run on, and the newer hostd takes them over. It reads what the older one has stored; an older one does not read what
a newer one has stored. The programs that were there are kept as hostd.old and so on; the commands that bring them back are said in the
end, also where the newer hostd does not come up, and by `hostd upgrade .../hostd.old`.";

pub(crate) const UNINSTALL: &str = "Examples:
  hostd stop --vms suspend && hostd uninstall --user
      puts what runs to disk before
  sudo hostd uninstall --system --yes
      without a question

VMs of sessions that run go on without a hostd, until another one is started on the data folder.";

/// Which service is meant.
#[derive(Args)]
struct Which {
    /// Your own service [default, but for root]
    #[arg(long, conflicts_with = "system")]
    user: bool,
    /// The machine's service [default for root]
    #[arg(long)]
    system: bool,
    /// Folder that stands for /, as for a package; systemd is not told then
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Do it without a question
    #[arg(long)]
    yes: bool,
}

#[derive(Args)]
pub(crate) struct Install {
    #[command(flatten)]
    which: Which,
    /// Folder with the programs [default: the one that this hostd is in]
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Upgrade {
    /// The newer hostd, or the folder that it is in
    path: PathBuf,
    #[command(flatten)]
    which: Which,
}

#[derive(Args)]
pub(crate) struct Uninstall {
    #[command(flatten)]
    which: Which,
}

impl Which {
    fn place(&self) -> eyre::Result<Place> {
        let scope = match (self.user, self.system) {
            (true, _) => Some(Scope::User),
            (_, true) => Some(Scope::System),
            _ => None,
        };
        Place::chosen(scope, self.root.clone())
    }

    fn agreed(&self, question: &str) -> eyre::Result<bool> {
        if self.yes { Ok(true) } else { confirmed(question) }
    }

    fn carry_out(&self, plan: &Plan) -> eyre::Result<ExitCode> {
        if self.dry_run {
            plan.steps.iter().for_each(|step| println!("{step}"));
        } else if !plan.carry_out(&mut |step| println!("{step}"), &mut |question| self.agreed(question))? {
            return Ok(ExitCode::FAILURE);
        }
        plan.notes.iter().for_each(|note| println!("note: {note}"));
        Ok(ExitCode::SUCCESS)
    }
}

impl Install {
    pub(crate) fn run(self) -> eyre::Result<ExitCode> {
        let own = || {
            let own = std::env::current_exe().wrap_err("where hostd itself is")?;
            Ok::<_, eyre::Report>(own.parent().unwrap_or(&own).to_owned())
        };
        let from = self.from.map_or_else(own, Ok)?;
        let plan = service::install(&self.which.place()?, &from)?;
        self.which.carry_out(&plan)
    }
}

impl Upgrade {
    pub(crate) fn run(self) -> eyre::Result<ExitCode> {
        let plan = service::upgrade(&self.which.place()?, &self.path)?;
        self.which.carry_out(&plan)
    }
}

impl Uninstall {
    pub(crate) fn run(self) -> eyre::Result<ExitCode> {
        let plan = service::uninstall(&self.which.place()?)?;
        let question = "Remove the service and its programs? VMs that run go on without a hostd.";
        if !self.which.dry_run && !self.which.agreed(question)? {
            return Ok(ExitCode::FAILURE);
        }
        self.which.carry_out(&plan)
    }
}
