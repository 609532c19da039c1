#!/bin/sh
# Counts the instructions a packet takes on its way, stage by stage, and fails if a stage
# takes more than instructions.budget says. Two runs of each stage under callgrind, with
# 100 and 600 vectors: the difference is the path's alone, and the same on every run of
# the same compiler. Nanoseconds move with the neighbours, this does not.
#
# Without valgrind it says so and passes, unless FASTPATH_REQUIRE_ORACLES is 1.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

if ! command -v valgrind >/dev/null; then
    echo "instructions: skipped, as there is no valgrind" >&2
    [ "${FASTPATH_REQUIRE_ORACLES:-}" != 1 ]
    exit
fi

target=${CARGO_TARGET_DIR:-$here/target}
# Plain x86-64, whatever the caller builds for.
RUSTFLAGS='' cargo build --quiet --release --manifest-path "$here/Cargo.toml" --target-dir "$target"
program=$target/release/fastpath-instructions
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

count() { # STAGE VECTORS
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$1" "$2" 2>&1 >/dev/null |
        sed -n 's/.*Collected : //p' >"$work/$1.$2"
}

echo "stage                instructions a packet    budget"
failed=0
while read -r stage budget; do
    case $stage in '' | '#'*) continue ;; esac
    count source 100 & count source 600 & wait
    count "$stage" 100 & count "$stage" 600 & wait
    net=$(($(cat "$work/$stage.600") - $(cat "$work/$stage.100") -
        $(cat "$work/source.600") + $(cat "$work/source.100")))
    # 500 vectors of 32 packets; rounded up.
    each=$(((net + 15999) / 16000))
    printf '%-28s %14d %9d\n' "$stage" "$each" "$budget"
    if [ "$each" -gt "$budget" ]; then
        echo "instructions: $stage takes $each, more than its budget of $budget" >&2
        failed=1
    fi
done <"$here/../instructions.budget"
exit $failed
