#!/bin/sh
# Counts the instructions that a packet takes through a `Node`, in and out, by how its interface
# is shared, what its queues drop and who is policed. As run.sh: the difference of runs of 100 and
# 600 vectors. What the frame takes to be written is in all of them.
name=node_queues
. "$(dirname -- "$0")/prelude.sh"

count() { # KIND VECTORS
    instructions "$1.$2" "$programs/node_queues" "$1" "$2" >"$work/$1.$2"
}

echo "queues                                instructions a packet    more than plain"
kind=0 plain=''
for what in plain policies-tail-drop policies-red policies-codel two-levels priority-class \
    priority-class-and-two-levels plain-slice-policed plain-link-and-slice-policed; do
    count "$kind" 100 & count "$kind" 600 & wait
    each=$((($(cat "$work/$kind.600") - $(cat "$work/$kind.100") + 8000) / 16000))
    plain=${plain:-$each}
    printf '%-38s %20d %18d\n' "$what" "$each" "$((each - plain))"
    kind=$((kind + 1))
done
