//! A guest's timer: its kernel measures it as it boots, and wrongly where the host lets it wait meanwhile.

use std::fs;

use rustix::process::Signal;
use tests::{
    Host, until,
    wait::{BOOT, SOON},
};

/// What a starved guest's kernel makes of its timer would let it wait for ever, so the guest boots again.
#[test]
fn a_guest_that_measured_its_timer_wrongly_boots_again() {
    let host = Host::start();
    host.boot_only();
    let id = host.dispatch("starved", &["sleep", "1000000"]);
    let vm = until("its VM", SOON, || host.vms().pop());
    // It runs for two looks of eight, 50 ms of 200. The kernel measures for 100: it is sure to be stopped when that is over.
    let mut looks = 0_u32..;
    until("the guest to boot again", BOOT, || {
        match looks.next().unwrap() % 8 {
            0 => vm.signal(Signal::STOP),
            6 => vm.signal(Signal::CONT),
            _ => {}
        }
        fs::read_to_string(host.log()).unwrap().contains("booted again").then_some(())
    });
    vm.signal(Signal::CONT);
    host.wait_for(&id, "lifecycle", "running");
    assert_eq!(host.exec(&id, &["sh", "-c", "sleep 0.1; echo up"]).text(), "up");
    assert_eq!(host.show(&id)["generation"], 1);
}

/// Once it is at work a reset is its end, whatever it says.
#[test]
fn a_session_does_not_boot_again_unnoticed() {
    let host = Host::start();
    let id = host.session("rebooter", &["sleep", "1000000"]);
    // reboot(LINUX_REBOOT_CMD_RESTART), as the guest's own init does it.
    let reset = "perl -e 'syscall(169, 0xfee1dead, 672274793, 0x1234567, 0)'";
    let script = format!("echo '<2>wants to be booted again' >/dev/kmsg; {reset}; sleep 60");
    let _ = host.exec(&id, &["sh", "-c", &script]);
    host.wait_for(&id, "lifecycle", "crashed");
    assert!(host.show(&id)["cause"].as_str().unwrap().contains("wants to be booted again"));
    host.wait_for_no_vm();
}
