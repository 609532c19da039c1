#!/usr/bin/env bash
# Records tests/captures/hosts.pcap: real traffic of two Linux hosts, each in
# its own network namespace, joined by a veth pair.
#
#   first host  10.1.0.1  02:00:00:00:01:01   client; captured at this end
#   second host 10.2.0.1  02:00:00:00:02:01   servers
#
# Usage (as root): tests/captures/record.sh [output.pcap]
#
# Debian packages: iproute2 ethtool tcpdump iputils-ping traceroute curl
#                  python3 dnsmasq-base bind9-dnsutils; tshark for the check.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${1:-$here/hosts.pcap}
max_bytes=300000
a_ip=10.1.0.1
b_ip=10.2.0.1
ns_a=fastpath-a-$$
ns_b=fastpath-b-$$
tmp=
pids=()

say() { printf '== %s\n' "$*"; }
die() { printf 'record.sh: %s\n' "$*" >&2; exit 1; }
in_a() { ip netns exec "$ns_a" "$@"; }
in_b() { ip netns exec "$ns_b" "$@"; }

cleanup() {
    local status=$? pid
    trap - EXIT
    for pid in "${pids[@]}"; do
        kill "$pid" 2>/dev/null || true
    done
    for pid in "${pids[@]}"; do
        wait "$pid" 2>/dev/null || true
    done
    ip netns del "$ns_a" 2>/dev/null || true
    ip netns del "$ns_b" 2>/dev/null || true
    if [[ -n $tmp ]]; then
        rm -rf -- "$tmp"
    fi
    exit "$status"
}

# wait_for WHAT COMMAND...: polls until COMMAND succeeds, ten seconds at most.
wait_for() {
    local what=$1 i
    shift
    for ((i = 0; i < 100; i++)); do
        if "$@"; then
            return 0
        fi
        sleep 0.1
    done
    die "$what did not become ready"
}
# listening PORT SS_OPTIONS: is there a listener on PORT of the second host?
listening() { in_b ss -Hn "$2" "sport = :$1" | grep -q .; }
# Keeps the pid of the program just started in the background. Such programs
# are started with a plain "ip netns exec", which becomes the program itself;
# in_a and in_b would leave a subshell in between, and $! would be its pid.
remember() { pids+=("$!"); }

[[ $EUID -eq 0 ]] || die "root is needed (network namespaces, raw capture)"
for tool in ip ss ethtool sysctl tcpdump ping traceroute curl python3 dnsmasq dig; do
    command -v "$tool" >/dev/null || die "missing program: $tool"
done

trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
tmp=$(mktemp -d)

say "two hosts joined by a veth pair: MTU 1500, offloads off, no IPv6"
for ns in "$ns_a" "$ns_b"; do
    ip netns add "$ns"
    if [[ -d /proc/sys/net/ipv6 ]]; then
        ip netns exec "$ns" sysctl -q -w net.ipv6.conf.all.disable_ipv6=1 \
            net.ipv6.conf.default.disable_ipv6=1
    fi
done
ip link add veth0 address 02:00:00:00:01:01 mtu 1500 netns "$ns_a" type veth \
    peer name veth0 address 02:00:00:00:02:01 mtu 1500 netns "$ns_b"
for ns in "$ns_a" "$ns_b"; do
    ip netns exec "$ns" ethtool -K veth0 rx off tx off sg off tso off gso off gro off \
        >/dev/null
    ip -n "$ns" link set lo up
    ip -n "$ns" link set veth0 up
done
# Host routes only: whatever else a program may try to reach (a name server,
# say) has no route, so it cannot show up in the capture.
ip -n "$ns_a" addr add "$a_ip/32" dev veth0
ip -n "$ns_b" addr add "$b_ip/32" dev veth0
ip -n "$ns_a" route add "$b_ip/32" dev veth0 src "$a_ip"
ip -n "$ns_b" route add "$a_ip/32" dev veth0 src "$b_ip"

say "servers on the second host: HTTP 8000, DNS 53, TCP sink 9000, UDP echo 9001"
mkdir "$tmp/www"
chmod 755 "$tmp" "$tmp/www"
seq -f 'line %06g' 1 1700 >"$tmp/www/lines.txt" # 12 bytes a line: 20400 bytes
cat >"$tmp/sink.py" <<'PY'
import socket
import sys

with socket.create_server((sys.argv[1], 9000)) as server:
    conn, _ = server.accept()
    with conn:
        total = 0
        while chunk := conn.recv(65536):
            total += len(chunk)
        conn.sendall(b"%d\n" % total)
PY
cat >"$tmp/echo.py" <<'PY'
import socket
import sys

with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
    server.bind((sys.argv[1], 9001))
    while True:
        data, peer = server.recvfrom(65535)
        server.sendto(data, peer)
PY
ip netns exec "$ns_b" python3 -m http.server 8000 --bind "$b_ip" \
    --directory "$tmp/www" >/dev/null 2>&1 &
remember
ip netns exec "$ns_b" dnsmasq --keep-in-foreground --conf-file=/dev/null --user=root \
    --pid-file= --no-resolv --no-hosts --no-poll --bind-interfaces \
    --listen-address="$b_ip" --except-interface=lo --local=/example.test/ \
    --host-record=host.example.test,192.0.2.10 \
    --cname=www.example.test,host.example.test \
    --txt-record=text.example.test,"a short text" \
    --mx-host=example.test,mail.example.test,10 \
    --log-facility="$tmp/dnsmasq.log" &
remember
ip netns exec "$ns_b" python3 "$tmp/sink.py" "$b_ip" &
remember
ip netns exec "$ns_b" python3 "$tmp/echo.py" "$b_ip" &
remember
wait_for "HTTP server" listening 8000 -tl
wait_for "DNS server" listening 53 -ul
wait_for "TCP sink" listening 9000 -tl
wait_for "UDP echo" listening 9001 -ul

say "capture at the first host"
ip netns exec "$ns_a" tcpdump -n -i veth0 -s 65535 -B 8192 -U -Z root \
    -w "$tmp/hosts.pcap" 2>"$tmp/tcpdump.log" &
remember
tcpdump_pid=$!
wait_for tcpdump grep -q 'listening on' "$tmp/tcpdump.log"

ping_b() { in_a ping -n -q -i 0.2 -W 2 "$@" "$b_ip" >/dev/null; }

say "ping: 0, 56, 57 and 1000 bytes of data"
ping_b -c 1 -s 0
ping_b -c 2 -s 56
ping_b -c 1 -s 57
ping_b -c 1 -s 1000
say "ping: 1472 bytes with DF, a packet of exactly the MTU"
ping_b -c 2 -s 1472 -M do
say "ping: 4000 bytes, in fragments"
ping_b -c 2 -s 4000 -M dont
say "ping: record route"
ping_b -c 2 -R
say "ping: from the second host to the first"
in_b ping -n -q -i 0.2 -W 2 -c 2 "$a_ip" >/dev/null

say "HTTP: GET of a 20400-byte file"
in_a curl -sS --noproxy '*' --max-time 10 -o "$tmp/got" "http://$b_ip:8000/lines.txt"
cmp "$tmp/got" "$tmp/www/lines.txt"

say "DNS: A, CNAME, MX, TXT and a name that does not exist"
query() { in_a dig +tries=1 +time=3 "@$b_ip" "$@" >"$tmp/dig"; }
query host.example.test A
grep -q '192\.0\.2\.10' "$tmp/dig"
query www.example.test A
query example.test MX
query text.example.test TXT +noedns
query missing.example.test A
grep -q 'status: NXDOMAIN' "$tmp/dig"

say "bulk TCP: 100000 bytes"
in_a python3 - "$b_ip" <<'PY'
import socket
import sys

data = bytes(i * 7 % 251 for i in range(100_000))
with socket.create_connection((sys.argv[1], 9000), timeout=10) as conn:
    conn.sendall(data)
    conn.shutdown(socket.SHUT_WR)
    answer = conn.recv(64)
assert answer == b"100000\n", answer
PY

say "UDP: 0, 1, 1472 (the MTU) and 5000 bytes (fragments), each echoed"
in_a python3 - "$b_ip" <<'PY'
import socket
import sys

with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.settimeout(5)
    sock.connect((sys.argv[1], 9001))
    for size in (0, 1, 1472, 5000):
        data = bytes(i * 7 % 251 for i in range(size))
        sock.send(data)
        assert sock.recv(65535) == data
PY

say "traceroute: UDP probes of TTL 1, then of TTL 2; ICMP probes of TTL 1"
in_a traceroute -n -f 1 -m 1 -q 2 -w 2 "$b_ip" >/dev/null
in_a traceroute -n -f 2 -m 2 -q 2 -w 2 "$b_ip" >/dev/null
in_a traceroute -n -I -f 1 -m 1 -q 2 -w 2 "$b_ip" >/dev/null

sleep 1
kill -INT "$tcpdump_pid"
wait "$tcpdump_pid"
unset 'pids[-1]' # tcpdump, started last
grep -q '^0 packets dropped by kernel' "$tmp/tcpdump.log" || die "the kernel dropped packets"

size=$(stat -c %s "$tmp/hosts.pcap")
((size <= max_bytes)) || die "capture is too large: $size bytes"

if command -v tshark >/dev/null; then
    say "check: nothing malformed, no bad checksum, no frame above 1514 bytes"
    tshark -n -r "$tmp/hosts.pcap" -o ip.check_checksum:TRUE -o udp.check_checksum:TRUE \
        -o tcp.check_checksum:TRUE -Y '_ws.malformed || ip.checksum.status == "Bad" ||
            udp.checksum.status == "Bad" || tcp.checksum.status == "Bad" ||
            icmp.checksum.status == "Bad" || frame.len > 1514 ||
            frame.cap_len != frame.len || !(ip || arp)' >"$tmp/bad" 2>"$tmp/tshark.log" ||
        die "tshark failed: $(cat "$tmp/tshark.log")"
    if [[ -s $tmp/bad ]]; then
        cat "$tmp/bad" >&2
        die "the capture has bad frames"
    fi
else
    say "tshark is not installed: capture not checked"
fi

install -m 644 "$tmp/hosts.pcap" "$out"
say "done: ${out##*/}, $size bytes"
