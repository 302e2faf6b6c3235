//! `hostd`: see `hostd --help`.

use std::{
    io::{BufRead as _, IsTerminal as _, Read as _, Write as _},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use eyre::{Context as _, OptionExt as _};
use hostd::{
    api::Listen,
    daemon, data_folder, dial, doctor,
    log::{self, Format},
    sessions::AtStop,
    stop,
    vm::qemu::Choice,
};

mod service_commands;

macro_rules! examples {
    () => {
        "Examples:
  hostd serve
      keeps everything in your data folder and listens on its hostd.sock
  hostd serve --data /srv/pilothouse --listen unix:/run/pilothouse/hostd.sock
      elsewhere; clients say --host unix:/run/pilothouse/hostd.sock
  hostd serve --memory 16GiB
      leaves the rest of the memory to others
  RUST_LOG=hostd=debug hostd serve --accel tcg
      emulates the processors, and tells more on stderr
  hostd serve --log-format json --metrics 127.0.0.1:9464
      writes its log for programs, and shows metrics for Prometheus at http://127.0.0.1:9464/metrics
  hostd stop --vms suspend
      ends it, with what runs put to disk for the next one
  hostd install --user
      installs it as a service of your systemd, with the programs beside it
  hostd doctor
      says whether this machine can run sessions, and what to do where not
  ssh HOST hostd dial
      what `pilothouse --host ssh://HOST` runs: the API of the hostd over there, on stdin and stdout"
    };
}

const EXAMPLES: &str = examples!();

const SERVE: &str = concat!(
    examples!(),
    "

Signals:
  SIGTERM, SIGINT and SIGHUP end hostd. The VMs of sessions run on, and the next hostd takes them over: an upgrade is another
  hostd that is started on the folder. A service of systemd needs KillMode=process for that. All other VMs are ended.
  With --stop-vms, and by `hostd stop --vms suspend`, every session that runs is suspended instead, several at a time. The next
  hostd resumes those, as there is room; what a person had suspended stays so. What is not on disk within 60 s is powered off,
  and can be restarted; all of it takes less than 80 s, and so fits into the 90 s that systemd gives a service
  (TimeoutStopSec=).
  A second signal ends hostd at once. VMs of sessions that it leaves run on, as those of a hostd that was killed, and the next
  hostd takes them over. What it cannot take over is ended, once its guest has written all to its disk: that session has crashed
  then, says why, and is restarted from its disk."
);

const STOP: &str = "Examples:
  hostd stop
      as a signal does: the VMs of sessions run on, unless hostd was started with --stop-vms
  hostd stop --vms suspend
      before the machine is switched off: sessions go on with the next hostd
  hostd stop --vms end --yes
      powers all of them off; what is in memory alone is lost, and they are restarted from their disks";

const DOCTOR: &str = "Examples:
  hostd doctor
      looks at the machine, and clones, suspends and resumes VMs on it; a minute under KVM
  hostd doctor --thorough
      does without KVM all that it does with it, which takes longer
  hostd doctor --data /srv/pilothouse --json
      for the folder of a hostd that may be running, for scripts

Exit code: 0 sessions can run here (there may be warnings), 1 something failed.";

const DIAL: &str = "Examples:
  ssh HOST hostd dial
      connects to the hostd of the user over there; `pilothouse --host ssh://HOST ls` runs it
  ssh HOST hostd dial --to unix:/run/pilothouse/hostd.sock
      to a socket elsewhere; `pilothouse --host ssh://HOST/run/pilothouse/hostd.sock ls`

The first line on stdout says that hostd is there; what follows is gRPC. Exit code: 0 the connection has ended, 1 nobody answers.";

/// Runs every agent session in a microVM of its own.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until a signal ends it: what runs goes on then, and the next hostd takes it over
    #[command(after_help = SERVE)]
    Serve(Serve),
    /// End the hostd of a data folder, and say what becomes of the VMs of its sessions
    #[command(after_help = STOP)]
    Stop(Stop),
    /// Say whether this machine can run sessions, and what to do where not
    #[command(after_help = DOCTOR)]
    Doctor(Doctor),
    /// Install this hostd, with the programs beside it, as a service of systemd
    #[command(after_help = service_commands::INSTALL)]
    Install(service_commands::Install),
    /// Replace an installed hostd by a newer one: VMs of sessions run on
    #[command(after_help = service_commands::UPGRADE)]
    Upgrade(service_commands::Upgrade),
    /// Remove what `hostd install` has installed; the data folder stays
    #[command(after_help = service_commands::UNINSTALL)]
    Uninstall(service_commands::Uninstall),
    /// Connect stdin and stdout to the API of a hostd that serves here: what consoles elsewhere run by ssh
    #[command(after_help = DIAL)]
    Dial(Dial),
}

#[derive(Args)]
struct Dial {
    /// The socket of that hostd [default: hostd.sock in its data folder]
    #[arg(long, value_name = "unix:PATH", conflicts_with = "data")]
    to: Option<Listen>,
    /// Its data folder [default: pilothouse in your data folder]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[derive(Args)]
struct Serve {
    #[command(flatten)]
    base: Base,
    /// Where to listen, may be repeated [default: hostd.sock in the data folder]
    #[arg(long, value_name = "unix:PATH")]
    listen: Vec<Listen>,
    /// What runs the VMs
    #[arg(long, value_enum, default_value_t = VmmName::Qemu)]
    vmm: VmmName,
    /// How much of this host's memory sessions together may use, e.g. 8GiB; more of them wait [default: all but a reserve]
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    memory: Option<u64>,
    /// Suspend what runs when a signal ends hostd, instead of leaving it to the next hostd
    #[arg(long)]
    stop_vms: bool,
    /// Take reports of checks over HTTP here, e.g. 127.0.0.1:7070: POST /repositories/NAME/commits/COMMIT/checks/CHECK with
    /// `{"state": "passed"}` and `Authorization: Bearer TOKEN`
    #[arg(long, value_name = "ADDR:PORT")]
    checks_listen: Option<SocketAddr>,
    /// How the log on stderr is written
    #[arg(long, value_enum, default_value_t = FormatName::Text, value_name = "FORMAT")]
    log_format: FormatName,
    /// Show metrics for Prometheus over HTTP here, e.g. 127.0.0.1:9464, at /metrics: to whoever can connect to the address
    #[arg(long, value_name = "ADDR:PORT")]
    metrics: Option<SocketAddr>,
    /// File with the token of reports of checks [default: checks.token in the data folder; made where it is not there]
    #[arg(long, value_name = "FILE", requires = "checks_listen")]
    checks_token: Option<PathBuf>,
}

#[derive(Args)]
struct Stop {
    /// Folder that the hostd was started on [default: pilothouse in your data folder]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// What becomes of the VMs of sessions [default: as that hostd was told when it was started]
    #[arg(long, value_enum, value_name = "WHAT")]
    vms: Option<VmsName>,
    /// Power them off without a question
    #[arg(long)]
    yes: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum VmsName {
    /// They run on, and the next hostd takes them over
    Leave,
    /// They are put to disk, and the next hostd resumes them
    Suspend,
    /// They are powered off: what is in memory alone is lost
    End,
}

#[derive(Args)]
struct Doctor {
    #[command(flatten)]
    base: Base,
    /// Examine guests for a minute and more where KVM does not run them, too
    #[arg(long)]
    thorough: bool,
    /// As JSON, for scripts
    #[arg(long)]
    json: bool,
}

/// What VMs are made with, and where.
#[derive(Args)]
struct Base {
    /// Folder of sessions, builds and repositories [default: pilothouse in your data folder]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// How QEMU runs their processors: auto, kvm or tcg (auto: kvm where it works)
    #[arg(long, value_name = "ACCELERATOR", default_value = "auto")]
    accel: Choice,
    /// The program that goes into every guest [default: pilothouse-guest-static beside hostd]
    #[arg(long, value_name = "FILE", env = "PILOTHOUSE_GUEST")]
    guest: Option<PathBuf>,
    /// The guests' kernel: a .deb, or a folder with boot/ and lib/modules/ [default: fetched with apt]
    #[arg(long, value_name = "PATH", env = "PILOTHOUSE_KERNEL")]
    kernel: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum FormatName {
    /// Lines for people
    Text,
    /// A JSON object a line, for programs
    Json,
}

#[derive(Clone, Copy, ValueEnum)]
enum VmmName {
    /// Real VMs
    Qemu,
    /// Made-up guests with made-up agents, to try the console with; nothing is run
    Simulated,
}

fn main() -> ExitCode {
    data_folder::keep_private();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let printed = error.print();
            // What was asked for, like --help, has to arrive.
            let lost = printed.is_err() && !error.use_stderr();
            return ExitCode::from(if lost { 1 } else { u8::try_from(error.exit_code()).unwrap_or(2) });
        }
    };
    let done = match cli.command {
        Command::Serve(serve) => run(serve).map(|()| ExitCode::SUCCESS),
        Command::Stop(stop) => end(stop),
        Command::Doctor(doctor) => examine(doctor),
        Command::Install(asked) => asked.run(),
        Command::Upgrade(asked) => asked.run(),
        Command::Uninstall(asked) => asked.run(),
        Command::Dial(asked) => connect(asked).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        eprintln!("hostd: {error:#}");
        ExitCode::from(if error.is::<NobodyToAsk>() { 2 } else { 1 })
    })
}

fn run(serve: Serve) -> eyre::Result<()> {
    #[cfg(feature = "failpoints")]
    let _scenario = fail::FailScenario::setup();
    log::begin(
        match serve.log_format {
            FormatName::Text => Format::Text,
            FormatName::Json => Format::Json,
        },
        "info",
    )?;
    let (data, guest) = serve.base.places()?;
    let options = daemon::Options {
        data,
        listen: serve.listen,
        checks: serve.checks_listen,
        checks_token: serve.checks_token,
        metrics: serve.metrics,
        simulated: matches!(serve.vmm, VmmName::Simulated),
        accelerator: serve.base.accel,
        guest,
        kernel: serve.base.kernel,
        memory: serve.memory,
        at_stop: if serve.stop_vms { AtStop::Suspend } else { AtStop::Leave },
    };
    daemon::run(options)
}

fn connect(asked: Dial) -> eyre::Result<()> {
    let socket = match (asked.to, asked.data) {
        (Some(Listen::Unix(socket)), _) => socket,
        (None, Some(data)) => data.join(data_folder::SOCKET),
        (None, None) => default_data()?.join(data_folder::SOCKET),
    };
    Ok(dial::run(&socket)?)
}

fn end(asked: Stop) -> eyre::Result<ExitCode> {
    let data = asked.data.map_or_else(default_data, Ok)?;
    if asked.vms == Some(VmsName::End) && !asked.yes && !confirmed("Power off all sessions that run?")? {
        return Ok(ExitCode::FAILURE);
    }
    let vms = asked.vms.map(|vms| match vms {
        VmsName::Leave => AtStop::Leave,
        VmsName::Suspend => AtStop::Suspend,
        VmsName::End => AtStop::End,
    });
    stop::run(&data, vms)?;
    Ok(ExitCode::SUCCESS)
}

/// A question that nobody is there to answer: the command was to say more.
#[derive(Debug)]
struct NobodyToAsk;

impl std::fmt::Display for NobodyToAsk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("nobody is there to be asked; say --yes")
    }
}

impl std::error::Error for NobodyToAsk {}

/// Asks a person; where there is none, it is an error of usage that says what to do.
fn confirmed(question: &str) -> eyre::Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Err(NobodyToAsk.into());
    }
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    std::io::BufReader::new(std::io::stdin().take(16)).read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn examine(doctor: Doctor) -> eyre::Result<ExitCode> {
    log::begin(Format::Text, "error")?;
    let (data, guest) = doctor.base.places()?;
    let options = doctor::Options {
        data,
        accelerator: doctor.base.accel,
        guest,
        kernel: doctor.base.kernel,
        thorough: doctor.thorough,
    };
    let report = doctor::run(&options)?;
    let mut stdout = std::io::stdout().lock();
    if doctor.json {
        writeln!(stdout, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        let colour = stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        write!(stdout, "{}", report.table(colour))?;
    }
    Ok(if report.status == doctor::Status::Failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

impl Base {
    /// Paths of the data folder and of the guest's program.
    fn places(&self) -> eyre::Result<(PathBuf, PathBuf)> {
        let data = match &self.data {
            Some(data) => data.clone(),
            None => default_data()?,
        };
        let guest = match &self.guest {
            Some(guest) => guest.clone(),
            None => {
                std::env::current_exe().wrap_err("where hostd itself is")?.with_file_name("pilothouse-guest-static")
            }
        };
        Ok((data, guest))
    }
}

fn bytes(text: &str) -> Result<u64, String> {
    hostd_core::recipe::bytes(text).ok_or_else(|| "write a number of KiB, MiB, GiB or TiB, such as 8GiB".into())
}

fn default_data() -> eyre::Result<PathBuf> {
    let folders = directories::ProjectDirs::from("", "", "pilothouse")
        .ok_or_eyre("this user has no home folder; say where to keep data with --data DIR")?;
    Ok(folders.data_dir().into())
}
