#!/bin/sh
# Usage: fuzz/run.sh SECONDS [TARGET...]
#
# Runs each target (all, if none is named) for that many seconds, built with optimizations,
# debug assertions and coverage on the stable compiler: no sanitizer, which stable cannot
# link, but panics and overflows end a run. Inputs gather in fuzz/corpus, finds in
# fuzz/artifacts. Needs cargo-fuzz and a C++ compiler.
set -eu
cd "$(dirname "$0")"

missing=
cargo fuzz --version >/dev/null 2>&1 || missing="$missing
  cargo-fuzz: cargo install cargo-fuzz --locked"
command -v "${CXX:-c++}" >/dev/null 2>&1 || missing="$missing
  a C++ compiler, for libFuzzer: g++ or clang++, or set CXX"
if [ -n "$missing" ]; then
    echo "missing:$missing" >&2
    exit 2
fi

case ${1:-} in
'' | *[!0-9]*)
    echo "usage: $0 SECONDS [TARGET...]" >&2
    exit 2
    ;;
esac
seconds=$1
shift
[ $# -gt 0 ] || set -- decap ipv4 pipeline lookup_ops manager

# An input may be as long as a few vectors of frames need, and is so from the start: a short
# one hardly fills a table. Old finds are where a run begins, too.
for target in "$@"; do
    mkdir -p "corpus/$target"
    echo "== $target, $seconds s"
    cargo fuzz run --release --sanitizer none --debug-assertions --fuzz-dir . "$target" "corpus/$target" \
        "../tests/regress/$target" -- -max_total_time="$seconds" -max_len=2048 -len_control=0 -print_final_stats=1
done
