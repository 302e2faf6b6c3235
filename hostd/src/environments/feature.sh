# shellcheck shell=sh
# Runs in a build's guest as root: installs a feature of a devcontainer. Its options are variables.
# $1: folder that it is in; nothing: its archive comes on standard input
set -eu
folder=$(mktemp -d)
trap 'rm -rf -- "$folder" "$folder.tar"' EXIT
# Some install as another user what lies in it.
chmod 0755 "$folder"
if [ -n "$1" ]; then
    cp -a -- "$1/." "$folder/"
else
    cat > "$folder.tar"
    # Busybox is to be told that it is packed, which few are.
    tar -x -f "$folder.tar" -C "$folder" 2>/dev/null || tar -x -z -f "$folder.tar" -C "$folder"
fi
home_of() { sed -n "s|^$1:[^:]*:[^:]*:[^:]*:[^:]*:\([^:]*\):.*|\1|p" /etc/passwd | head -n 1; }
_CONTAINER_USER_HOME=$(home_of "$_CONTAINER_USER")
_REMOTE_USER_HOME=$(home_of "$_REMOTE_USER")
export _CONTAINER_USER_HOME _REMOTE_USER_HOME
cd "$folder"
if [ ! -f install.sh ]; then
    echo "the feature has no install.sh" >&2
    exit 1
fi
chmod +x install.sh
./install.sh
