//! A push that is longer than the gateway takes.

use std::{fs, path::Path};

use tests::Host;

/// Of the pack that is pushed; 512 are taken.
const MIB: u64 = 544;
/// What hostd's memory may grow by meanwhile, in bytes.
const GROWTH: u64 = 64 << 20;

/// Refused in words, and forgotten: neither hostd's memory nor the repository keeps anything of it.
#[test]
fn a_push_over_the_limit_is_refused_and_leaves_nothing() {
    let host = Host::start();
    let id = host.session("pusher", &[]);
    let slug = host.slug(&id);
    let shell = |script: &str| host.exec(&id, &["sh", "-ec", script]).text();
    let (before, branch) = (host.peak(), format!("refs/heads/agent/{slug}/huge"));
    let said = shell(&huge_push(&branch));
    let grown = host.peak() - before;
    assert!(said.contains("pilothouse: a push may be 512 MiB long; push fewer commits at a time"), "{said}");
    assert!(said.contains(&format!("ng {branch}")), "{said}");
    assert!(grown < GROWTH, "hostd grew by {} MiB", grown >> 20);

    let bare = host.data().join("git/widgets.git");
    assert_eq!(begun_in(&bare), Vec::<String>::new());
    assert!(!bare.join(&branch).exists());
    let _ = shell(&format!(
        "git clone -q http://pilothouse.internal/git/widgets.git /tmp/clone; cd /tmp/clone
        git -c user.email=a@b.invalid -c user.name=A commit -q --allow-empty -m After
        git push -q origin HEAD:refs/heads/agent/{slug}/work"
    ));
    assert!(bare.join(format!("refs/heads/agent/{slug}/work")).exists());
}

/// Pushes a pack of one blob of 1 GiB, and prints the answer. Made by hand, of blocks that are not compressed: git would hash it
/// three times over, which takes minutes without KVM. What git's own client shows is tested where the gateway is.
fn huge_push(branch: &str) -> String {
    let (zero, one) = ("0".repeat(40), "1".repeat(40));
    let wants = "report-status side-band-64k";
    let length = 4 + zero.len() + 1 + one.len() + 1 + branch.len() + 1 + wants.len();
    format!(
        r"cd /tmp
        printf '\000\377\377\000\000' >block
        head -c 65535 /dev/zero >>block
        for _ in $(seq 256); do cat block; done >blocks
        {{
            printf '{length:04x}{zero} {one} {branch}\000{wants}0000'
            printf 'PACK\000\000\000\002\000\000\000\001\260\200\200\200\040\170\001'
            for _ in $(seq {}); do cat blocks; done
        }} | curl -sS -X POST -T - -H Expect: -H 'Content-Type: application/x-git-receive-pack-request' \
            http://pilothouse.internal/git/widgets.git/git-receive-pack 2>&1 | tr -d '\000'
        rm block blocks",
        MIB / 16,
    )
}

/// What git began to write below a folder and did not finish.
fn begun_in(folder: &Path) -> Vec<String> {
    let mut found = vec![];
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_name().to_string_lossy().starts_with("tmp_") {
            found.push(entry.path().display().to_string());
        } else if entry.file_type().unwrap().is_dir() {
            found.extend(begun_in(&entry.path()));
        }
    }
    found
}
