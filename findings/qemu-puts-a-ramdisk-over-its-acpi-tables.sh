#!/usr/bin/env bash
# QEMU 10.0.13 (1:10.0.13+ds-0+deb13u1 of Debian 13), machine `microvm`, with Linux 6.12.118 (linux-image-6.12.118+deb13-cloud-amd64).
#
# What one would guess: any initial ramdisk that fits into memory will do, and its length modulo the size of a page says nothing. With the
# same kernel as Debian ships it (a bzImage) that is so: the ramdisk ends 64 KiB below the end of memory.
# What happens: a kernel that is given as an ELF file, and entered by its PVH note, gets its ramdisk at the very end of memory. So does
# the firmware put its ACPI tables there, some 770 bytes at the end of the last page. A ramdisk whose last page is nearly full has them
# inside. No program says anything; the kernel finds a pointer to tables, and no table, and in a microvm with `acpi=on` it is the tables
# that name the virtio devices: such a guest has no disk. Whether it boots depends on the length of what was packed, so that the same
# set-up works for months and ends with an unrelated change of one program in the ramdisk. Pad the archive until little of its last
# page is used: the kernel skips zeros behind a cpio archive.
#
# What is run: Debian 13's QEMU and kernel in a folder of their own, the kernel as bzImage and as the ELF file in it, each with one
# ramdisk padded to 4 and to 3900 bytes in its last page. Seen:
#   bzImage, 4 bytes in the last page: RAMDISK: [mem 0x0fe00000-0x0ffeffff], the DSDT is found
#   bzImage, 3900 bytes in the last page: RAMDISK: [mem 0x0fe01000-0x0ffeffff], the DSDT is found
#   ELF, 4 bytes in the last page: RAMDISK: [mem 0x0fe10000-0x0fffffff], the DSDT is found
#   ELF, 3900 bytes in the last page: RAMDISK: [mem 0x0fe11000-0x0fffffff], the DSDT is not found
# Needs: root, mmdebstrap, python3 and zstd, about 1 GiB in /var/tmp and two minutes. No hardware virtualisation. Exit code 0 as long as
# QEMU behaves so, 1 where it does not any more, 2 where it could not be tried.
set -euo pipefail
release=6.12.118+deb13-cloud-amd64
fail() {
    printf '%s\n' "$@" >&2
    exit 2
}
[ "$(id -u)" = 0 ] || fail "run this as root: it makes a Debian in a folder"
for program in mmdebstrap python3 zstd; do
    command -v "$program" >/dev/null || fail "install $program: apt-get install mmdebstrap python3 zstd"
done
folder=$(mktemp -d /var/tmp/finding.XXXXXX)
trap 'rm -rf "$folder"' EXIT
root=$folder/root
echo "Making a Debian 13 with QEMU 10.0.13 and Linux $release" >&2
# --mode=root mounts nothing that outlives it; lists and documents are not needed.
packages=qemu-system-x86=1:10.0.13+ds-0+deb13u1,linux-image-$release,busybox-static,cpio
TMPDIR=/var/tmp mmdebstrap --mode=root --variant=apt "--include=$packages" --dpkgopt=force-unsafe-io \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --quiet trixie "$root" >&2 ||
    fail "these versions could not be installed"
chroot "$root" qemu-system-x86_64 --version | head -1

# The ELF file in the bzImage: Documentation/arch/x86/boot.rst of Linux, fields setup_sects, payload_offset and payload_length.
python3 - "$root/boot/vmlinuz-$release" >"$folder/payload" <<'PYTHON'
import struct
import sys

image = open(sys.argv[1], "rb").read()
offset, length = struct.unpack_from("<II", image, 0x248)
start = (image[0x1F1] + 1) * 512 + offset
# The last four bytes are the unpacked length.
sys.stdout.buffer.write(image[start : start + length - 4])
PYTHON
zstd -q -dc "$folder/payload" >"$root/vmlinux"

# shellcheck disable=SC2016
chroot "$root" sh -euc '
    mkdir -p /ramdisk/bin /ramdisk/dev
    cp "$(command -v busybox)" /ramdisk/bin/busybox
    printf "#!/bin/busybox sh\n/bin/busybox reboot -f\n" >/ramdisk/init
    chmod +x /ramdisk/init
    cd /ramdisk
    find . | cpio -o -H newc --quiet >/ramdisk.cpio'

# Boots one kernel with the ramdisk padded to so many bytes in its last page, and tells where it was and whether its tables were found.
boot() {
    local kernel=$1 rest=$2 length found="not found"
    cp "$root/ramdisk.cpio" "$root/padded"
    length=$(stat -c %s "$root/padded")
    truncate -s "$((length + (rest - length % 4096 + 4096) % 4096))" "$root/padded"
    timeout 120 chroot "$root" qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot -m 256M \
        -M microvm,acpi=on,rtc=on,isa-serial=on -accel tcg -cpu max -serial stdio -kernel "$kernel" -initrd /padded \
        -append "console=ttyS0 tsc_early_khz=2000000 reboot=t panic=-1" </dev/null >"$folder/serial" 2>&1 || true
    grep -aq 'Run /init as init process' "$folder/serial" || fail "the kernel did not come to its /init:" "$(tail -5 "$folder/serial")"
    ! grep -aq 'ACPI: DSDT 0x' "$folder/serial" || found=found
    echo "$([ "$kernel" = /vmlinux ] && echo ELF || echo bzImage), $rest bytes in the last page:" \
        "$(grep -ao 'RAMDISK: \[mem [^]]*\]' "$folder/serial" | head -1), the DSDT is $found"
}
seen=$(for kernel in "/boot/vmlinuz-$release" /vmlinux; do
    for rest in 4 3900; do boot "$kernel" "$rest"; done
done)
echo "$seen"
[ "$(grep -oE '(not )?found$' <<<"$seen" | paste -sd ,)" = "found,found,found,not found" ]
