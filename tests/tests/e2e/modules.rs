//! Modules of the guests' kernel, which the host gives when a guest first has a use for one.

use tests::Host;

/// By the kernel for a file system that is to be mounted (system call 165), and by `modprobe`.
const SCRIPT: &str = "set -e
    if grep -qw -e erofs -e bridge /proc/filesystems /proc/modules; then exit 9; fi
    perl -e 'syscall(165, my $none = \"none\", my $on = \"/mnt\", my $kind = \"erofs\", 0, 0)'
    grep -qw erofs /proc/filesystems
    modprobe bridge; grep -q '^bridge ' /proc/modules; grep -q '^stp ' /proc/modules";

#[test]
fn a_guest_has_the_modules_that_it_has_a_use_for() {
    let host = Host::start();
    let id = host.session("modules", &[]);
    let _ = host.exec(&id, &["bash", "-c", SCRIPT]).text();
    let none = host.exec(&id, &["modprobe", "no_such_module"]);
    assert!(none.code == 1 && none.stderr.contains("has no module no_such_module"), "{none}");
    let _ = host.cli(["suspend", &id]).text();
    let _ = host.exec(&id, &["bash", "-c", "modprobe rtnl-link-veth && grep '^veth ' /proc/modules"]).text();
}
