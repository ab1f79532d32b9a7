#!/bin/sh
# Packages compiled programs as the image of deploy/Dockerfile and runs them in
# it, as the image's user. Without network: the base is made of the libraries
# that the programs need, taken from this machine.
#
#   deploy/image-test.sh [FOLDER]     with outshine and outshine-worker (default target/debug)
set -eu

top=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
programs=${1:-"${CARGO_TARGET_DIR:-$top/target}/debug"}
say() { printf 'image-test: %s\n' "$*"; }
fail() { say "$*" >&2; exit 1; }

if [ ! -x "$programs/outshine" ] || [ ! -x "$programs/outshine-worker" ]; then
    fail "no outshine and outshine-worker in $programs: build them, or name their folder"
fi
if ! command -v buildah >/dev/null 2>&1; then
    echo "SKIPPED: no buildah here: the image is not built"
    exit 0
fi

work=$(mktemp -d)
builder() { buildah --root "$work/images" --runroot "$work/run" --storage-driver vfs "$@"; }
tidy() {
    builder rm --all >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap tidy EXIT
# Where namespaces and mounts are forbidden, no builder can work.
if ! builder from --name probe scratch >"$work/probe" 2>&1; then
    echo "SKIPPED: buildah cannot work here: $(tail -n 1 "$work/probe")"
    exit 0
fi

mkdir -p "$work/base/tmp" "$work/programs"
for name in outshine outshine-worker; do
    strip -o "$work/programs/$name" "$programs/$name"
    # "libm.so.6 => /lib/libm.so.6 (0x7f..)" and "/lib64/ld-linux.so.2 (0x7f..)"
    for library in $(ldd "$programs/$name" | sed -n 's/^[^/]*\(\/[^ ]*\) (.*/\1/p'); do
        mkdir -p "$work/base$(dirname "$library")"
        cp -L "$library" "$work/base$library"
    done
done
cp "$top/LICENSE-MIT" "$top/LICENSE-APACHE" "$top/NOTICE" "$work/programs"
printf 'FROM scratch\nCOPY . /\n' >"$work/Dockerfile"
builder bud --quiet --isolation chroot --tag base --file "$work/Dockerfile" "$work/base" >/dev/null
builder bud --quiet --isolation chroot --tag outshine --target packaged \
    --build-arg BASE_IMAGE=localhost/base --file "$top/deploy/Dockerfile" "$work/programs" >/dev/null

user=$(builder inspect --type image --format '{{.OCIv1.Config.User}}' outshine)
[ "$user" = 65532:65532 ] || fail "the image runs as '$user', not as 65532:65532"

container=$(builder from outshine)
for name in outshine outshine-worker; do
    said=$(builder run --isolation chroot "$container" -- "/usr/local/bin/$name" --version)
    [ "$said" = "$name $(sed -n 's/^version = "\(.*\)"/\1/p' "$top/Cargo.toml" | head -n 1)" ] ||
        fail "$name --version in the image says: $said"
done
# No shell in the image: what is run can only be Outshine's.
if builder run --isolation chroot "$container" -- /bin/sh -c true >/dev/null 2>&1; then
    fail "there is a shell in the image"
fi
say "image built and run as $user: $said"
