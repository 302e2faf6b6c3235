# Lists the recipes.
default:
    @just --list

# The demo: set-up, a fleet of real microVMs, the console.
demo *ARGS:
    demos/fleet.sh {{ARGS}}

# Set-up and every test.
test:
    tests/run.sh

# The static guest binary, beside hostd's.
guest:
    tests/build-guest.sh
