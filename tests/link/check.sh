#!/bin/sh
# Builds the pipeline without an allocator, runs it, and looks for an allocator's symbols;
# then shows that a build that allocates is refused. Needs cargo and nm (binutils).
set -eu
cd "$(dirname "$0")"
target=${CARGO_TARGET_DIR:-target}
program=$target/release/fastpath-link
log=$(mktemp)
trap 'rm -f "$log"' EXIT

fail() {
    echo "link check: $*" >&2
    exit 1
}

cargo build --locked --release
"$program" || fail "the program ended with $?"

nm "$program" >"$log"
grep -q ' T _start$' "$log" || fail "no symbols to look at"
if grep -E '__rust_alloc|__rust_realloc|__rg_alloc|__rdl_alloc|(^| )_*(malloc|calloc|realloc)$' "$log"; then
    fail "an allocator is linked in"
fi
if grep ' U ' "$log"; then
    fail "symbols that nothing defines"
fi

# A check that cannot fail is none.
if cargo build --locked --release --features allocates 2>"$log"; then
    fail "a program that allocates was linked"
fi
grep -q 'no global memory allocator' "$log" || {
    cat "$log" >&2
    fail "the build that allocates failed for another reason"
}
echo "link check: passed"
