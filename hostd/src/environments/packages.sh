# shellcheck shell=sh
# Runs in the guest of a build on a container image, as root: installs packages that are not there, by the image's own package
# manager.
# $1: programs that are needed, each of which its package is called; then names of packages
set -eu
missing=
for tool in $1; do
    command -v "$tool" >/dev/null 2>&1 || missing="$missing $tool"
done
shift
has() { false; }
if command -v apt-get >/dev/null 2>&1; then
    has() { dpkg-query -W -f '${Status}' -- "$1" 2>/dev/null | grep -q ' installed$'; }
    install() { apt-get update -q && apt-get install -y -q --no-install-recommends -- "$@" && rm -rf /var/lib/apt/lists/*; }
    from='deb.debian.org:80, or archive.ubuntu.com:80 and security.ubuntu.com:80'
elif command -v apk >/dev/null 2>&1; then
    has() { apk info -e "$1" >/dev/null 2>&1; }
    install() { apk add --no-cache "$@"; }
    from='dl-cdn.alpinelinux.org:443'
elif command -v dnf >/dev/null 2>&1; then
    has() { rpm -q --whatprovides "$1" >/dev/null 2>&1; }
    install() { dnf install -y --setopt=install_weak_deps=False --nodocs "$@" && dnf clean all; }
    from='mirrors.fedoraproject.org:443, and the mirrors that it names'
elif command -v microdnf >/dev/null 2>&1; then
    has() { rpm -q --whatprovides "$1" >/dev/null 2>&1; }
    install() { microdnf install -y --setopt=install_weak_deps=0 --nodocs "$@" && microdnf clean all; }
    from='cdn-ubi.redhat.com:443'
else
    install() {
        echo "the image lacks $*, and no package manager that is known here (apt-get, apk, dnf, microdnf) is in it;" \
            "take an image that has them" >&2
        exit 1
    }
    from=
fi
for package; do has "$package" || missing="$missing $package"; done
if [ -z "$missing" ]; then
    echo "all of them are there"
    exit 0
fi
# shellcheck disable=SC2086
install $missing || {
    echo "they were not installed; the recipe's egress must list where the image's packages come from, such as $from" >&2
    exit 1
}
