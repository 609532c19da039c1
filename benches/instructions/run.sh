#!/bin/sh
# Counts the instructions a packet takes on its way, stage by stage, and fails if a stage
# takes more than instructions.budget says. Two runs of each stage under callgrind, with
# 100 and 600 vectors: the difference is the path's alone, and the same on every run of
# the same compiler. Nanoseconds move with the neighbours, this does not.
name=instructions
. "$(dirname -- "$0")/prelude.sh"

count() { # STAGE VECTORS
    instructions "$1.$2" "$programs/fastpath-instructions" "$1" "$2" >"$work/$1.$2"
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
