#!/usr/bin/env bash
# Linux 6.18.44: what was written to the master of a pseudo-terminal is not at once what FIONREAD counts on the other side.
#
# What one would guess: once write(2) to the master has returned, FIONREAD on the slave counts the bytes until a program reads
# them, so 0 means that they were read.
# What happens: a worker of the kernel carries them to the line discipline; until it has run, FIONREAD says 0. poll(2) on the slave,
# also one that does not wait, lets the worker finish first, and from then on the count is right. So who wants to know whether
# what was typed has been read polls before counting.
#
# What is run: 10,000 times, a new pseudo-terminal, a line written to its master, FIONREAD on its slave before and after a select
# with no time. Seen: "FIONREAD says 0 right after the write: 2663 of 10000 times; after a poll that did not wait: 0 times" (the
# first number differs from run to run).
# Needs: perl (5.36.0-7+deb12u2 of Debian 12 here; it only makes the calls). Exit code 0 as long as Linux behaves so, 1 where
# it does not any more.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/count.pl" <<'PERL'
use strict;
use warnings;
use Fcntl;
my ($TIOCGPTN, $TIOCSPTLCK, $TIOCGPTPEER, $FIONREAD) = (0x80045430, 0x40045431, 0x5441, 0x541b);
my ($tries, $before, $after) = (10000, 0, 0);
sub waiting {
    my $count = pack("i", 0);
    ioctl($_[0], $FIONREAD, $count) or die "FIONREAD: $!";
    return unpack("i", $count);
}
for (1 .. $tries) {
    sysopen(my $master, "/dev/ptmx", O_RDWR | O_NOCTTY) or die "ptmx: $!";
    my $unlock = pack("i", 0);
    ioctl($master, $TIOCSPTLCK, $unlock) or die "unlock: $!";
    my $number = pack("i", 0);
    ioctl($master, $TIOCGPTN, $number) or die "number: $!";
    sysopen(my $slave, "/dev/pts/" . unpack("i", $number), O_RDWR | O_NOCTTY) or die "pts: $!";
    if ($_ == 1) { print "kernel ", `uname -r` }
    # A whole line, which counts also where the terminal hands over lines.
    syswrite($master, "hello\n");
    $before++ if waiting($slave) == 0;
    my $bits = "";
    vec($bits, fileno($slave), 1) = 1;
    select($bits, undef, undef, 0);
    $after++ if waiting($slave) == 0;
}
print "FIONREAD says 0 right after the write: $before of $tries times; after a poll that did not wait: $after times\n";
exit($before > 0 && $after == 0 ? 0 : 1);
PERL
perl "$folder/count.pl"
