#!/bin/sh
# Shows that no filter of one slice costs another an instruction: the same lookups in one
# slice of a table are counted under callgrind while another slice holds nothing, or what an
# adversary would put there. All counts must be equal.
#
# Without valgrind it says so and passes, unless FASTPATH_REQUIRE_ORACLES is 1.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

if ! command -v valgrind >/dev/null; then
    echo "isolation: skipped, as there is no valgrind" >&2
    [ "${FASTPATH_REQUIRE_ORACLES:-}" != 1 ]
    exit
fi

target=${CARGO_TARGET_DIR:-$here/target}
RUSTFLAGS='' cargo build --quiet --release --manifest-path "$here/Cargo.toml" --target-dir "$target"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

count() { # HOSTILE VECTORS
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$target/release/isolation" "$1" "$2" 2>&1 >"$work/said" |
        sed -n 's/.*Collected : //p' >"$work/$2"
}

echo "another slice holds        instructions for 16,000 lookups"
expected='' failed=0
for hostile in nothing distinct-masks scattered-masks nested-wildcards crossed-wildcards tuple-explosion \
    colliding-keys; do
    # The difference of two runs is the lookups' alone.
    count "$hostile" 100 && count "$hostile" 600
    net=$(($(cat "$work/600") - $(cat "$work/100")))
    printf '%-26s %d (%s)\n' "$hostile" "$net" "$(sed 's/.*: //' "$work/said")"
    expected=${expected:-$net}
    [ "$net" = "$expected" ] || failed=1
done
if [ "$failed" = 1 ]; then
    echo "isolation: the counts differ" >&2
fi
exit $failed
