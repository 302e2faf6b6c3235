//! `modprobe`, as the guest's kernel and programs call it: what it names is asked of the host, which has the modules of this kernel.
//!
//! A guest has few modules of its own: nearly none needs more, and a disk with all of them would be one more device in every VM and
//! every snapshot.

use std::{
    io::{self, Read},
    net::TcpStream,
    process::ExitCode,
    time::Duration,
};

use pilothouse_proto::link::{MODULE_NAME_MAX, MODULES_MAX, is_module_name};
use rustix::{io::Errno, system::init_module};

use crate::{boot_log::report, proxy};

/// Name that this program is started by.
pub const NAME: &str = "modprobe";
/// Longest wait for the host's next bytes: the tunnel may have to come back first.
const WITHIN: Duration = Duration::from_secs(30);
/// Longest head of the host's answer, in bytes.
const HEAD: usize = 16 << 10;
/// What is said to whoever asks for something else.
const TAKES: &str = "this modprobe has the host's modules loaded, and takes -a, -b, -q, -s, -v and names alone";

/// What is asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    names: Vec<String>,
    all: bool,
    quiet: bool,
}

impl Asked {
    /// Takes those options of kmod's program alone that load what is named: `-a`, `-b`, `-q`, `-s` and `-v`.
    fn of(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut asked, mut ended) = (Self::default(), false);
        for argument in arguments {
            match argument.as_str() {
                "--" if !ended => ended = true,
                "--all" if !ended => asked.all = true,
                "--quiet" if !ended => asked.quiet = true,
                "--verbose" | "--use-blacklist" | "--syslog" if !ended => {}
                options if !ended && options.len() > 1 && options.starts_with('-') => {
                    for option in options.chars().skip(1) {
                        match option {
                            'a' => asked.all = true,
                            'q' => asked.quiet = true,
                            'b' | 's' | 'v' => {}
                            _ => return Err(format!("{options} is not known here: {TAKES}")),
                        }
                    }
                }
                _ => asked.names.push(argument),
            }
        }
        match asked.names.as_slice() {
            [] => Err(format!("no module is named: {TAKES}")),
            [_, parameter, ..] if !asked.all => Err(format!(
                "{parameter}: parameters of modules are not passed on: {TAKES}; name several modules behind -a"
            )),
            _ => Ok(asked),
        }
    }
}

/// Loads what is named and what that needs. What asks for anything else fails, and nothing is loaded.
#[must_use]
pub fn run(arguments: impl Iterator<Item = String>) -> ExitCode {
    let asked = match Asked::of(arguments) {
        Ok(asked) => asked,
        Err(why) => {
            eprintln!("modprobe: {why}");
            return ExitCode::FAILURE;
        }
    };
    let mut code = ExitCode::SUCCESS;
    for name in &asked.names {
        if let Err(error) = load(name) {
            if !asked.quiet {
                eprintln!("modprobe: {name}: {error}");
            }
            code = ExitCode::FAILURE;
        }
    }
    code
}

fn load(name: &str) -> io::Result<()> {
    if !is_module_name(name) {
        return Err(said(format!("a name has 1 to {MODULE_NAME_MAX} letters, digits and marks that a URL may have")));
    }
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let stream = TcpStream::connect(proxy::ADDRESS)?;
    stream.set_read_timeout(Some(WITHIN))?;
    for module in modules(&fetch(stream, &release, name)?)? {
        match init_module(module, c"") {
            Ok(()) => report(&format!("a module of {} KiB was loaded for {name}", module.len() >> 10)),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Asks the host by the proxy, and reads the body of its answer.
fn fetch(mut stream: impl Read + io::Write, release: &str, name: &str) -> io::Result<Vec<u8>> {
    let ask = format!(
        "GET http://pilothouse.internal/modules/{release}/{name} HTTP/1.0\r\nHost: pilothouse.internal\r\n\r\n"
    );
    stream.write_all(ask.as_bytes())?;
    let mut answer = Vec::new();
    stream.take((HEAD + MODULES_MAX) as u64 + 1).read_to_end(&mut answer)?;
    let end = answer.windows(4).take(HEAD).position(|bytes| bytes == b"\r\n\r\n");
    let end = end.ok_or_else(|| said("the host's answer is none".into()))? + 4;
    let body = answer.split_off(end);
    if answer.split(|&byte| byte == b' ').nth(1) == Some(b"200") {
        return Ok(body);
    }
    Err(said(String::from_utf8_lossy(&body).trim_end().into()))
}

/// The modules in the body of an answer, in the order in which they are loaded: each behind its length in four bytes, big-endian, and
/// an empty one behind the last.
fn modules(mut body: &[u8]) -> io::Result<Vec<&[u8]>> {
    let mut modules = Vec::new();
    loop {
        let cut = || said("the host's answer was cut off".into());
        let (length, rest) = body.split_first_chunk::<4>().ok_or_else(cut)?;
        let length = u32::from_be_bytes(*length) as usize;
        if length == 0 {
            return Ok(modules);
        }
        let (module, rest) = rest.split_at_checked(length).ok_or_else(cut)?;
        modules.push(module);
        body = rest;
    }
}

fn said(text: String) -> io::Error {
    io::Error::other(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection on which this is read, and what is written is kept.
    struct Said<'a>(&'a [u8], Vec<u8>);

    impl Read for Said<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl io::Write for Said<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn fetched(answer: &str) -> io::Result<Vec<u8>> {
        fetch(&mut Said(answer.as_bytes(), vec![]), "6.1", "veth")
    }

    #[test]
    fn asks_the_host_by_name() {
        let mut io = Said(b"HTTP/1.0 200 OK\r\n\r\nbody", vec![]);
        assert_eq!(fetch(&mut io, "6.1", "rtnl-link-veth").unwrap(), b"body");
        assert!(io.1.starts_with(b"GET http://pilothouse.internal/modules/6.1/rtnl-link-veth HTTP/1.0\r\n"));
        let error = fetched("HTTP/1.0 404 none\r\n\r\npilothouse: none\n").unwrap_err().to_string();
        assert_eq!(error, "pilothouse: none");
        for none in ["", "HTTP/1.0 200 OK\r\n", &"x".repeat(HEAD + 9)] {
            assert!(fetched(none).is_err());
        }
    }

    #[test]
    fn what_does_not_load_is_refused() {
        let asked = |line: &str| Asked::of(line.split(' ').filter(|word| !word.is_empty()).map(Into::into));
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let one = Asked { names: names(&["veth"]), quiet: true, ..Asked::default() };
        assert_eq!(asked("-q -- veth"), Ok(one));
        for line in ["-va veth br_netfilter", "--all -b --verbose veth -s br_netfilter"] {
            let two = Asked { names: names(&["veth", "br_netfilter"]), all: true, quiet: false };
            assert_eq!(asked(line), Ok(two), "{line}");
        }
        for bad in [
            "",
            "-a",
            "-r veth",
            "-ar veth",
            "-n veth",
            "-D veth",
            "-C /etc/x veth",
            "--remove veth",
            "veth numtxqueues=1",
        ] {
            assert!(asked(bad).unwrap_err().contains("takes -a"), "{bad}");
        }
    }

    #[test]
    fn a_body_that_was_cut_off_is_not_loaded() {
        let body = b"\0\0\0\x01a\0\0\0\x02bc\0\0\0\0";
        assert_eq!(modules(body).unwrap(), [&b"a"[..], b"bc"]);
        for length in 0..body.len() {
            assert!(modules(&body[..length]).is_err(), "{length}");
        }
        assert!(modules(b"\xff\xff\xff\xffabc").is_err());
    }

    #[test]
    fn what_is_no_name_is_not_asked_for() {
        for bad in ["", "../x", "a/b", "a b", "-r", "a%2f", "a?b", "a#b", "x\r\ny", &"x".repeat(MODULE_NAME_MAX + 1)] {
            assert!(!is_module_name(bad), "{bad:?}");
        }
        for good in
            ["nft-chain-2-nat", "net-pf-10-proto-132", "crypto-cbc(aes)", "char-major-10-200", "fs-fuse", "x:y,z*"]
        {
            assert!(is_module_name(good), "{good}");
        }
    }
}
