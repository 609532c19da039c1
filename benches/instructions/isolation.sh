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

# Only what stands in `look_up` is counted.
count() { # NUMBER
    valgrind --tool=callgrind --callgrind-out-file=/dev/null --collect-atstart=no --toggle-collect='*look_up*' \
        "$target/release/isolation" "$1" 500 2>&1 >"$work/said" | sed -n 's/.*Collected : //p'
}

echo "another slice holds        instructions for 16,000 lookups"
expected='' failed=0 number=0
for hostile in nothing distinct-masks scattered-masks nested-wildcards crossed-wildcards tuple-explosion \
    colliding-keys; do
    net=$(count "$number")
    number=$((number + 1))
    printf '%-26s %d (%s)\n' "$hostile" "$net" "$(cat "$work/said")"
    expected=${expected:-$net}
    [ "$net" = "$expected" ] || failed=1
done
if [ "$failed" = 1 ]; then
    echo "isolation: the counts differ" >&2
fi
exit $failed
