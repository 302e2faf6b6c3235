//! `hostd`: see `hostd --help`.

use std::{io::IsTerminal as _, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand, ValueEnum};
use color_eyre::eyre::{Context as _, OptionExt as _};
use hostd::{
    api::Listen,
    daemon::{self, Options},
    vm::qemu::Choice,
};
use tracing_subscriber::EnvFilter;

const EXAMPLES: &str = "Examples:
  hostd serve
      keeps everything in your data folder and listens on its hostd.sock
  hostd serve --data /srv/pilothouse --listen unix:/run/pilothouse/hostd.sock
      elsewhere; clients say --host unix:/run/pilothouse/hostd.sock
  RUST_LOG=hostd=debug hostd serve --accel tcg
      emulates the processors, and tells more on stderr";

/// Runs every agent session in a microVM of its own.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until a signal ends it; its VMs are powered off then
    #[command(after_help = EXAMPLES)]
    Serve(Serve),
}

#[derive(Args)]
struct Serve {
    /// Folder of sessions, builds and repositories [default: pilothouse in your data folder]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where to listen, may be repeated [default: hostd.sock in the data folder]
    #[arg(long, value_name = "unix:PATH")]
    listen: Vec<Listen>,
    /// What runs the VMs
    #[arg(long, value_enum, default_value_t = VmmName::Qemu)]
    vmm: VmmName,
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
enum VmmName {
    /// Real VMs
    Qemu,
    /// Made-up guests with made-up agents, to try the console with; nothing is run
    Simulated,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let Command::Serve(serve) = cli.command;
    match run(serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hostd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(serve: Serve) -> color_eyre::Result<()> {
    #[cfg(feature = "failpoints")]
    let _scenario = fail::FailScenario::setup();
    let filter = EnvFilter::try_from_default_env().or_else(|_| EnvFilter::try_new("info"))?;
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours).init();
    let data = match serve.data {
        Some(data) => data,
        None => default_data()?,
    };
    let guest = match serve.guest {
        Some(guest) => guest,
        None => std::env::current_exe().wrap_err("where hostd itself is")?.with_file_name("pilothouse-guest-static"),
    };
    let simulated = matches!(serve.vmm, VmmName::Simulated);
    let options =
        Options { data, listen: serve.listen, simulated, accelerator: serve.accel, guest, kernel: serve.kernel };
    tokio::runtime::Runtime::new().wrap_err("the runtime did not start")?.block_on(daemon::run(options))
}

fn default_data() -> color_eyre::Result<PathBuf> {
    let folders = directories::ProjectDirs::from("", "", "pilothouse")
        .ok_or_eyre("this user has no home folder; say where to keep data with --data DIR")?;
    Ok(folders.data_dir().into())
}
