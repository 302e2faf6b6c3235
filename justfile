# Lists the recipes.
default:
    @just --list

# The demo: set-up, a fleet of real microVMs, the console.
demo *ARGS:
    demos/fleet.sh {{ARGS}}

# The same with Codex and Claude Code from npm, against a scripted model.
agent *ARGS:
    demos/agent.sh {{ARGS}}

# Set-up and every check; or the steps named.
test *STEPS:
    tests/run.sh {{STEPS}}

# Fuzz targets, for some seconds each; or the ones named: just fuzz 600 qmp
fuzz *ARGS:
    tests/fuzz.sh {{ARGS}}

# Fifty cold boots on a machine that is kept busy; CI does a dozen.
soak:
    PILOTHOUSE_BOOTS=50 tests/run.sh boots

# What this machine lacks, installed.
setup:
    tests/setup.sh

# The daemon and the console.
build:
    cargo build --release --locked --workspace
    tests/build-guest.sh

# The static guest binary, beside hostd's.
guest:
    tests/build-guest.sh

# The quick checks of a change.
check:
    cargo fmt --all --check
    cargo clippy --release --workspace --all-targets -- -D warnings

# Figures beside peers measured in the same run: the spine's (link, keystrokes, cold boot), the snapshots', diffs, wakes.
bench:
    tests/setup.sh benches
    cargo build --release --locked --workspace
    tests/build-guest.sh target/release
    cargo bench --locked --workspace --bench spine --bench snapshots --bench diffs --bench wakes --bench gateway --bench bytes

# The same figures of this build beside another's, in turns: just against ../before/target/release wakes
against folder +benches:
    tests/setup.sh benches
    cargo build --release --locked --workspace
    tests/build-guest.sh target/release
    tests/against.py {{ folder }} {{ benches }}
