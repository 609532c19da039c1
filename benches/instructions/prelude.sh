# What run.sh, isolation.sh and idle_queues.sh begin with, as their own: sets `here`, `programs`, where the
# package's programs are, and `work`, a folder that goes when they end. `$name` is who runs.
#
# Without valgrind it says so and ends well, unless FASTPATH_REQUIRE_ORACLES is 1.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

if ! command -v valgrind >/dev/null; then
    echo "$name: skipped, as there is no valgrind" >&2
    [ "${FASTPATH_REQUIRE_ORACLES:-}" != 1 ]
    exit
fi

target=${CARGO_TARGET_DIR:-$here/target}
# Plain x86-64, whatever the caller builds for.
RUSTFLAGS='' cargo build --quiet --release --manifest-path "$here/Cargo.toml" --target-dir "$target"
programs=$target/release
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The instructions that a program takes; valgrind's options come first. Its output goes to
# $work/said.$id.
instructions() { # ID OPTION... PROGRAM ARGUMENT...
    id=$1
    shift
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$@" 2>&1 >"$work/said.$id" |
        sed -n 's/.*Collected : //p'
}
