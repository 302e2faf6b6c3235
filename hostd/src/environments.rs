//! Recipe to build: bases, setup in a VM, immutable disks.
