#!/bin/sh
# Shows that an idle queue costs no instruction: the same packets through one queue of a
# scheduler are counted under callgrind while it has ten queues, and up to a million. All
# counts of a quantum must be equal.
name=idle_queues
. "$(dirname -- "$0")/prelude.sh"

failed=0
for unit in 1500 0100; do
    echo "queues, a weight of 1 earning $unit octets    instructions for 10,000 packets in and out"
    expected=''
    for queues in 0000010 0001000 0100000 1048576; do
        # Only what stands in `one_queue` is counted.
        net=$(instructions "$queues" --collect-atstart=no --toggle-collect='*one_queue*' \
            "$programs/idle_queues" "$queues" "$unit" 10000)
        printf '%-44s %d\n' "$queues" "$net"
        expected=${expected:-$net}
        [ "$net" = "$expected" ] || failed=1
    done
done
if [ "$failed" = 1 ]; then
    echo "idle_queues: the counts differ" >&2
fi
exit $failed
