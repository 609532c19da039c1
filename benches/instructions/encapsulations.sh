#!/bin/sh
# Counts the instructions of one packet into a tunnel and out of it, for each encapsulation
# over IPv4 and IPv6, and the nanoseconds beside them, which move with the neighbours. The
# path's own, udp/4, stands first: `run.sh` has a budget for it.
#
# Over IPv6, UDP checksums are made and verified: two sizes show what an octet costs.
name=encapsulations
. "$(dirname -- "$0")/prelude.sh"

one() { # in|out KIND OCTETS
    few=$(instructions few "$programs/encapsulations" "$1" "$2" "$3" 1000)
    many=$(instructions many "$programs/encapsulations" "$1" "$2" "$3" 2000)
    printf '%8d %6s' "$(((many - few + 999) / 1000))" "$("$programs/encapsulations" "$1" "$2" "$3" 2000000 time)"
}

echo "              in: instructions, ns    out: instructions, ns"
for octets in 64 1400; do
    for kind in udp/4 udp/6 vxlan/4 vxlan/6 geneve/4 geneve/6 gre/4 gre/6; do
        printf '%-9s %4d %s %s\n' "$kind" "$octets" "$(one in "$kind" "$octets")" "$(one out "$kind" "$octets")"
    done
done
