#!/bin/sh
# Shows that no filter of one slice costs another an instruction: the same lookups in one
# slice of a table are counted under callgrind while another slice holds nothing, or what an
# adversary would put there. All counts must be equal.
name=isolation
. "$(dirname -- "$0")/prelude.sh"

echo "another slice holds        instructions for 16,000 lookups"
expected='' failed=0 number=0
for hostile in nothing distinct-masks scattered-masks nested-wildcards crossed-wildcards tuple-explosion \
    colliding-keys; do
    # Only what stands in `look_up` is counted.
    net=$(instructions "$number" --collect-atstart=no --toggle-collect='*look_up*' \
        "$programs/isolation" "$number" 500)
    printf '%-26s %d (%s)\n' "$hostile" "$net" "$(cat "$work/said.$number")"
    number=$((number + 1))
    expected=${expected:-$net}
    [ "$net" = "$expected" ] || failed=1
done
if [ "$failed" = 1 ]; then
    echo "isolation: the counts differ" >&2
fi
exit $failed
