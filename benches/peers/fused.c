// The path fused into one loop by hand: what one core does when nothing is composable.
// Two of them: `fused`, which does less than the crate's blocks, and further down
// `fused_same`, which does the same work and is the floor that they are held against.
//
// `fused` does what the blocks do for this traffic: outer and inner header checks, slice by
// port, a 112-bit key of the whole 5-tuple, slice first, longest prefix in a DIR-24
// table of 16-bit entries, time to live, 42 octets of prepared outer header with a
// partial sum, a counter pair for each record, five weighted deficit round robin
// queues, a counter pair for each queue. Two passes over a vector of 32: check and
// prefetch, then look up and rewrite.
//
// What it leaves out, and the blocks have: a reason for each refusal (it has one
// counter), traffic class and ECN through the tunnel, the MTU, IP options, link-local
// addresses, prefixes longer than /24, a choice of code options, a queue limit in
// octets, a queue's owner.

#include <arpa/inet.h>
#include <immintrin.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { VECTOR = 32, PORTS = 5, QUEUES = 5, RING = 512, SLICES = 4, HEADER = 42, FIRST_PORT = 20001 };

typedef struct { uint64_t packets, octets; } count;
typedef struct { uint64_t high, low; } key;
typedef struct { uint32_t buffer, octets; } entry;

typedef struct {
    entry ring[RING];
    uint32_t head, tail;
    int32_t deficit, quantum;
} queue;

struct fused {
    uint8_t *pool;
    size_t stride, headroom;
    uint64_t admissions[PORTS]; // slice in the low 16 bits, link above
    uint16_t *tables[SLICES];   // by slice, 2^24 entries each: a record's number
    uint8_t headers[QUEUES][HEADER];
    uint32_t queue_of[QUEUES]; // by record
    count queued[QUEUES];      // by record
    count sent[QUEUES];        // by queue
    uint64_t refused, full;
    queue queues[QUEUES];
    uint32_t turn, credited;
};

static inline uint16_t get16(const uint8_t *at) { uint16_t v; memcpy(&v, at, 2); return ntohs(v); }
static inline uint32_t get32(const uint8_t *at) { uint32_t v; memcpy(&v, at, 4); return ntohl(v); }
static inline uint16_t raw16(const uint8_t *at) { uint16_t v; memcpy(&v, at, 2); return v; }
static inline void put16(uint8_t *at, uint16_t v) { v = htons(v); memcpy(at, &v, 2); }

static inline uint16_t fold(uint32_t sum) {
    sum = (sum & 0xffff) + (sum >> 16);
    return (sum & 0xffff) + (sum >> 16);
}

// One's complement sum of a 20-octet header, in the order of memory; 0xffff if right.
static inline uint16_t sum20(const uint8_t *header) {
    uint64_t sum = 0;
    for (int at = 0; at < 20; at += 4) {
        uint32_t word;
        memcpy(&word, header + at, 4);
        sum += word;
    }
    sum = (sum & 0xffffffff) + (sum >> 32);
    return fold((uint32_t)(sum & 0xffff) + (uint32_t)(sum >> 16));
}

struct fused *fused_new(uint8_t *pool, size_t stride, size_t headroom) {
    struct fused *f = calloc(1, sizeof *f);
    if (!f) return NULL;
    f->pool = pool, f->stride = stride, f->headroom = headroom;
    f->tables[1] = aligned_alloc(2u << 20, 2u << 24);
    if (!f->tables[1]) { free(f); return NULL; }
    memset(f->tables[1], 0, 2u << 24);
    for (uint32_t port = 0; port < PORTS; port++) f->admissions[port] = 1 | port << 16;
    static const int32_t weights[QUEUES] = {6, 5, 4, 3, 2};
    for (uint32_t q = 0; q < QUEUES; q++) {
        f->queue_of[q] = q;
        f->queues[q].quantum = 750 * weights[q];
    }
    return f;
}

void fused_free(struct fused *f) {
    free(f->tables[1]);
    free(f);
}

// The outer header of `record`, its IP checksum field holding the sum without length.
void fused_header(struct fused *f, uint32_t record, const uint8_t *header) {
    memcpy(f->headers[record], header, HEADER);
}

// Routes come with the shorter prefixes first.
void fused_route(struct fused *f, uint32_t network, uint32_t len, uint16_t record) {
    for (uint32_t at = 0; at < 1u << (24 - len); at++) f->tables[1][(network >> 8) + at] = record;
}

// Takes a vector of buffers, each with a frame of `octets`, into the queues. What is
// refused is not given back. With `ahead` it fetches the headers of the whole vector
// first, as the blocks do.
__attribute__((noinline)) void
fused_process(struct fused *f, const uint32_t *vector, uint32_t octets, uint32_t ahead) {
    key keys[VECTOR];
    uint8_t good[VECTOR];
    if (ahead) {
        for (int k = 0; k < VECTOR; k++) {
            const uint8_t *frame = f->pool + vector[k] * f->stride + f->headroom;
            __builtin_prefetch(frame);
            __builtin_prefetch(frame + 64);
        }
    }
    for (int k = 0; k < VECTOR; k++) {
        const uint8_t *frame = f->pool + vector[k] * f->stride + f->headroom, *ip = frame + HEADER;
        uint32_t port = get16(frame + 36) - FIRST_PORT;
        uint32_t outer = get16(frame + 16), udp = get16(frame + 38), inner = get16(ip + 2);
        uint32_t source = get32(ip + 12), destination = get32(ip + 16), first = source >> 24;
        uint32_t later = (raw16(ip + 6) & htons(0x1fff)) != 0;
        uint32_t ports = later | (udp < 32) ? 0 : get32(ip + 20);
        good[k] = (raw16(frame + 12) == htons(0x0800)) & (frame[14] == 0x45) & (frame[23] == 17)
            & ((raw16(frame + 20) & htons(0x3fff)) == 0) & (get32(frame + 30) == 0x0a000001) & (port < PORTS)
            & (sum20(frame + 14) == 0xffff) & (outer + 14 <= octets) & (udp + 20 <= outer) & (udp >= 8)
            & (ip[0] == 0x45) & (ip[8] > 1) & (sum20(ip) == 0xffff) & (inner >= 20) & (inner + 8 <= udp)
            & (first < 224) & (first != 127) & (first != 0);
        uint64_t admission = f->admissions[port < PORTS ? port : 0];
        keys[k].high = (admission & 0xffff) << 48 | (uint64_t)((ip[1] & 0xfc) | later << 1) << 40
            | (uint64_t)ip[9] << 32 | ports;
        keys[k].low = (uint64_t)source << 32 | destination;
        __builtin_prefetch(&f->tables[admission & (SLICES - 1)][destination >> 8]);
    }
    for (int k = 0; k < VECTOR; k++) {
        if (!good[k]) { f->refused++; continue; }
        uint8_t *frame = f->pool + vector[k] * f->stride + f->headroom, *ip = frame + HEADER;
        // RFC 1624: the time to live is the low octet of its word in memory order.
        uint32_t sum = raw16(ip + 10) + 1u;
        ip[8]--;
        uint16_t folded = sum + (sum >> 16);
        memcpy(ip + 10, &folded, 2);
        uint32_t record = f->tables[keys[k].high >> 48][(uint32_t)keys[k].low >> 8], len = get16(ip + 2);
        memcpy(frame, f->headers[record], HEADER);
        put16(frame + 16, len + 28);
        put16(frame + 38, len + 8);
        put16(frame + 24, ~fold(get16(f->headers[record] + 24) + len + 28));
        f->queued[record].packets++;
        f->queued[record].octets += len + HEADER;
        queue *q = &f->queues[f->queue_of[record]];
        if (q->tail - q->head == RING) { f->full++; continue; }
        q->ring[q->tail++ & (RING - 1)] = (entry){vector[k], len + HEADER};
    }
}

// Takes up to `budget` packets out of the queues, into `out`. Returns how many.
__attribute__((noinline)) uint32_t fused_drain(struct fused *f, uint32_t *out, uint32_t budget) {
    uint32_t sent = 0;
    while (sent < budget) {
        queue *q = &f->queues[f->turn];
        if (q->head == q->tail) {
            uint32_t tried = 0;
            q->deficit = 0;
            do f->turn = (f->turn + 1) % QUEUES, q = &f->queues[f->turn];
            while (++tried < QUEUES && q->head == q->tail);
            f->credited = 0;
            if (q->head == q->tail) break;
        }
        if (!f->credited) { q->deficit += q->quantum; f->credited = 1; }
        entry next = q->ring[q->head & (RING - 1)];
        if ((int32_t)next.octets > q->deficit) {
            f->turn = (f->turn + 1) % QUEUES;
            f->credited = 0;
            continue;
        }
        q->deficit -= next.octets;
        q->head++;
        f->sent[f->turn].packets++;
        f->sent[f->turn].octets += next.octets;
        out[sent++] = next.buffer;
    }
    return sent;
}

// Packets and octets that left each queue, and those that were refused or found no room.
void fused_counts(const struct fused *f, uint64_t sent[2 * QUEUES], uint64_t *refused) {
    for (int q = 0; q < QUEUES; q++) {
        sent[2 * q] = f->sent[q].packets;
        sent[2 * q + 1] = f->sent[q].octets;
    }
    *refused = f->refused + f->full;
}

// The same work as the blocks, fused by hand: `fused_same`. What the loop above leaves
// out is here, and so a packet that is refused has the reason, and the slice's counter of
// it, that it has there. The common case stands in line, the rest in functions that are
// called seldom. Shortcuts that only a whole can take: an admission's slice and option
// and a table's result index memory unchecked, as only this program writes them; the
// plain path checks lengths once; addresses of tunnels are 32 bits; a waiting packet's
// length is kept once; the queue's and the option's types are known.
//
// Not here, cold there: frames whose outer header a socket took off, templates.

enum { GROUP = 16, LINKS_LOG2 = 4, CACHED = 4096, ROW = 69, NONE = -1 };
enum { ETHERNET, BARE_IP, STRIPPED, INJECTED };
enum { EMPTY, LINEAR, ROUTES };
enum { STAYS = 1 << 24, LONGER = 1 << 15 };

// In the order of `Exit::index`, and 1 more, as 0 is none.
enum {
    TRUNCATED = 1, MALFORMED, CHECKSUM, OUTER_PROTOCOL, OUTER_FRAGMENT, CRITICAL_OPTION,
    FOREIGN_FRAME, ECN_NOT_CAPABLE, MARTIAN, UNKNOWN_SLICE, UNKNOWN_OPTION, POLICED, NO_MATCH,
    FILTERED, NO_HEADROOM, TOO_LONG, DESTINATION, QUEUE_FULL, NO_BUFFER, UNKNOWN_QUEUE,
    NO_SLOW_PATH = 26, FIRST_EXCEPTION = 45,
    LOCAL = 45, EXPIRED, OPTIONS, TOO_BIG, MULTICAST,
};

// A packet in its buffer; `exit` says whether it came back, and `slice` whose it is.
typedef struct {
    uint8_t *buffer;
    uint16_t start, octets;
    uint8_t layer, exit;
    uint16_t slice;
} packet;

typedef struct { uint16_t slice, link; uint8_t option, uniform; uint16_t spare; } admission;
typedef struct { uint64_t key; admission to; uint64_t verify; } port_entry;
typedef struct { key value, mask; uint32_t record; } row;

typedef struct {
    uint32_t kind, rows;
    uint16_t *top;
    uint16_t (*chunks)[256];
    row *linear;
    uint32_t used;
} engine;

typedef struct {
    _Alignas(64) uint64_t word;
    uint32_t queue;
    uint16_t mtu;
    uint8_t class_mask, len, exit, multipoint;
    uint8_t header[46]; // with the sum of the IP header in the place of its checksum
} egress;

typedef struct { uint8_t *buffer; uint16_t start, octets; uint32_t next; } descriptor;

typedef struct {
    _Alignas(64) uint32_t head;
    uint32_t tail, packets, limit_packets, quantum, deficit;
    uint64_t octets, limit_octets;
    uint32_t next;
    uint16_t owner;
} line;

typedef struct {
    uint8_t *buffer;
    uint32_t octets, queue;
    uint16_t start, owner;
    uint8_t verdict;
} departure;

// What the second half must know of a packet.
typedef struct {
    admission to;
    uint32_t source, carry;
    uint16_t source_port, start, octets;
    uint8_t class, injected;
} lane;

struct same;
typedef int slow_path(struct same *, uint64_t now, uint32_t exit, const lane *, packet *);

struct same {
    port_entry ports[1 << LINKS_LOG2];
    uint32_t shift, probes;
    engine engines[2];
    uint64_t suspects[4];
    uint32_t class_is_link;
    uint32_t records;
    egress egresses[QUEUES];
    line queues[QUEUES];
    count queued[QUEUES]; // by record
    count sent[QUEUES];   // by queue
    count left[2][ROW];   // by slice and exit
    descriptor *pool;
    uint32_t free, turn, last, credited, longest;
    slow_path *slow;
};

static inline uint64_t ne64(const uint8_t *at) { uint64_t v; memcpy(&v, at, 8); return v; }
static inline uint16_t add16(uint16_t a, uint16_t b) { uint16_t s = a + b; return s + (s < a); }

// Whether the checksum of a header of 20 octets is right: the number that it spells is a
// multiple of 0xffff, asked by a multiplication with the inverse.
static inline int header_ok(const uint8_t *header) {
    uint32_t last;
    memcpy(&last, header + 16, 4);
    unsigned long long sum;
    uint8_t carry = _addcarry_u64(0, ne64(header), ne64(header + 8), &sum);
    carry = _addcarry_u64(carry, sum, last, &sum);
    _addcarry_u64(carry, sum, 0, &sum);
    return sum * 0xfffefffefffeffff <= UINT64_MAX / 0xffff;
}

static inline uint64_t port_key(uint32_t address, uint32_t port) {
    return 1ull << 63 | (uint64_t)address << 16 | port;
}

__attribute__((cold, noinline)) static const port_entry *find_behind(const struct same *f, uint64_t key) {
    uint32_t home = key * 0x9e3779b97f4a7c15 >> f->shift;
    for (uint32_t d = 1; d < f->probes; d++) {
        const port_entry *e = &f->ports[(home + d) & ((1 << LINKS_LOG2) - 1)];
        if (e->key == key) return e;
    }
    return NULL;
}

static inline const port_entry *find_port(const struct same *f, uint64_t key) {
    const port_entry *e = &f->ports[key * 0x9e3779b97f4a7c15 >> f->shift];
    return e->key == key ? e : find_behind(f, key);
}

static uint16_t sum_of(const uint8_t *at, uint32_t octets) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < octets; i++) sum += (uint64_t)at[i] << (i & 1 ? 0 : 8);
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}

// What is wrong with an IPv4 header, by the book; 0 if nothing.
static uint32_t ip_wrong(const uint8_t *ip, uint32_t octets) {
    if (octets < 20) return TRUNCATED;
    uint32_t header = (ip[0] & 15) * 4, total = get16(ip + 2);
    if (ip[0] >> 4 != 4 || header < 20 || total < header) return MALFORMED;
    if (total > octets) return TRUNCATED;
    return sum_of(ip, header) == 0xffff ? 0 : CHECKSUM;
}

// Admits what is no plain Ethernet frame, or says what is wrong with it.
__attribute__((cold, noinline)) static uint32_t
admit_other(const struct same *f, const packet *p, lane *to) {
    const uint8_t *frame = p->buffer + p->start;
    uint32_t at = 0, octets = p->octets;
    if (p->layer == INJECTED) {
        if (p->slice == 0) return UNKNOWN_SLICE;
        *to = (lane){.to = {.slice = p->slice}, .start = p->start, .octets = octets, .injected = 1};
        return 0;
    }
    if (p->layer == STRIPPED) return UNKNOWN_SLICE;
    if (p->layer == ETHERNET) {
        if (octets < 14) return TRUNCATED;
        at = get16(frame + 12) == 0x8100 ? 18 : 14;
        if (octets < at) return TRUNCATED;
        if (get16(frame + at - 2) != 0x0800) return OUTER_PROTOCOL;
    }
    if (octets > at && frame[at] >> 4 == 6) return OUTER_PROTOCOL;
    const uint8_t *ip = frame + at;
    uint32_t wrong = ip_wrong(ip, octets - at);
    if (wrong) return wrong;
    if (get16(ip + 6) & 0x3fff) return OUTER_FRAGMENT;
    if (ip[9] != 17) return OUTER_PROTOCOL;
    uint32_t header = (ip[0] & 15) * 4, room = get16(ip + 2) - header;
    const uint8_t *udp = ip + header;
    if (room < 8 || get16(udp + 4) > room) return TRUNCATED;
    if (get16(udp + 4) < 8) return MALFORMED;
    const port_entry *e = find_port(f, port_key(get32(ip + 16), get16(udp + 2)));
    if (!e) return UNKNOWN_SLICE;
    uint32_t len = get16(udp + 4);
    if (e->verify && get16(udp + 6)) {
        uint32_t pseudo = sum_of(ip + 12, 8) + 17 + len + sum_of(udp, len);
        if (fold(pseudo) != 0xffff) return CHECKSUM;
    }
    *to = (lane){
        .to = e->to, .source = get32(ip + 12), .source_port = get16(udp), .class = ip[1],
        .start = p->start + at + header + 8, .octets = len - 8,
    };
    return 0;
}

static inline uint32_t admit(const struct same *f, const packet *p, lane *to) {
    const uint8_t *frame = p->buffer + p->start;
    if (p->layer != ETHERNET || p->octets < 42) return admit_other(f, p, to);
    uint32_t total = get16(frame + 16), udp = get16(frame + 38);
    const uint64_t mask = 0xff00ff3f, shape = 17u << 24; // fragment field and protocol
    if (raw16(frame + 12) != 0x0008 || frame[14] != 0x45 || (ne64(frame + 20) & mask) != (shape & mask))
        return admit_other(f, p, to);
    int32_t room = (int32_t)(p->octets - 14 - total) | (int32_t)(total - 20 - udp) | (int32_t)(udp - 8);
    if (room < 0 || !header_ok(frame + 14)) return admit_other(f, p, to);
    const port_entry *e = find_port(f, port_key(get32(frame + 30), get16(frame + 36)));
    if (!e || e->verify) return admit_other(f, p, to);
    to->to = e->to;
    to->source = get32(frame + 26);
    to->source_port = get16(frame + 34);
    to->start = p->start + 42;
    to->octets = udp - 8;
    to->class = frame[15];
    to->injected = 0;
    return 0;
}

// Addresses that need a closer look, and headers that are no plain ones.
__attribute__((cold, noinline)) static uint32_t unsound(const uint8_t *ip, uint32_t octets, uint32_t *stays) {
    uint32_t wrong = ip_wrong(ip, octets);
    if (wrong) return wrong;
    uint32_t from = get32(ip + 12), to = get32(ip + 16), first = from >> 24;
    int nobody = from == 0 && (to == 0xffffffff || to >> 8 == 0xe00000);
    if (((first == 0 || first == 127 || first >= 240) && !nobody) || from >> 28 == 14) return MARTIAN;
    if (to == 0xffffffff) return LOCAL;
    if (to >> 28 == 14) return MULTICAST;
    first = to >> 24;
    if (first == 0 || first == 127 || first >= 240) return MARTIAN;
    if ((ip[0] & 15) > 5) return OPTIONS;
    *stays = from >> 16 == 0xa9fe || to >> 16 == 0xa9fe ? STAYS : 0;
    return 0;
}

// Traffic class behind a tunnel: RFC 6040, 4.2; RFC 2983.
__attribute__((cold, noinline)) static int merge(uint32_t outer, uint32_t inner, int uniform) {
    uint32_t in = inner & 3, out = outer & 3, ecn = in;
    if (in == 0 && out == 3) return -1;
    if (in == 2 && out == 1) ecn = 1;
    if (in != 0 && out == 3) ecn = 3;
    return ((uniform ? outer : inner) & ~3u) | ecn;
}

// Protocols with ports in their first four octets: TCP, UDP, DCCP, SCTP, UDP-Lite.
static const uint64_t with_ports[4] = {1ull << 6 | 1ull << 17 | 1ull << 33, 0, 1 << 4 | 1 << 8, 0};

static inline uint32_t port_fields(uint32_t protocol, uint32_t first) {
    if (with_ports[protocol >> 6] >> (protocol & 63) & 1) return first;
    return protocol == 1 ? first >> 24 << 16 | (first >> 16 & 0xff) : 0;
}

static inline uint32_t suspect(const struct same *f, uint32_t address) {
    return f->suspects[address >> 30] >> (address >> 24 & 63) & 1;
}

// Code option 0, IPv4: parse.
static inline uint32_t parse_ipv4(const struct same *f, const uint8_t *ip, lane *l, key *asked) {
    uint32_t octets = l->octets, stays = 0;
    if (octets < 20) return TRUNCATED;
    uint32_t first = get32(ip), source = get32(ip + 12), destination = get32(ip + 16), total = first & 0xffff;
    if (first >> 24 != 0x45 || total < 20 || total > octets
        || (suspect(f, source) | suspect(f, destination)) || !header_ok(ip)) {
        uint32_t exit = unsound(ip, octets, &stays);
        if (exit) return exit;
    }
    uint32_t later = (raw16(ip + 6) & 0xff1f) != 0;
    uint32_t ports = octets >= 24 && !later && total >= 24 ? port_fields(ip[9], get32(ip + 20)) : 0;
    int class = first >> 16 & 0xff;
    if ((l->class & 1) | l->to.uniform) {
        class = merge(l->class, class, l->to.uniform);
        if (class < 0) return ECN_NOT_CAPABLE;
    }
    uint32_t field = f->class_is_link ? (l->to.link & 0x7e) << 1 | (l->to.link & 1) : class & 0xfc;
    asked->high = (uint64_t)l->to.slice << 48 | (uint64_t)(field | later << 1) << 40 | (uint64_t)ip[9] << 32 | ports;
    asked->low = (uint64_t)source << 32 | destination;
    l->carry = stays | total << 8 | class;
    return 0;
}

typedef struct { uint8_t class, redirected; uint32_t address; uint16_t port; } outgoing;

// Code option 0, IPv4: format.
static inline uint32_t format_ipv4(uint8_t *ip, uint32_t *octets, const egress *e, const lane *l, outgoing *o) {
    uint32_t total = l->carry >> 8 & 0xffff, class = l->carry & 0xff;
    if (*octets < 20) return TRUNCATED;
    if (l->carry & STAYS) return MARTIAN;
    if (ip[8] <= 1 && !l->injected) return EXPIRED;
    if (total > e->mtu) return TOO_BIG;
    // Words stand in the order of memory: a sum is the same in either.
    uint16_t sum = raw16(ip + 10);
    if (ip[1] != class) {
        sum = ~add16(add16(~sum, ~(uint16_t)(ip[1] << 8)), class << 8);
        ip[1] = class;
    }
    if (!l->injected) {
        ip[8]--;
        sum = ~add16(~sum, 0xfffe);
    }
    memcpy(ip + 10, &sum, 2);
    if (total < *octets) *octets = total;
    *o = (outgoing){.class = class};
    return 0;
}

__attribute__((cold, noinline)) static uint32_t redirect(uint8_t *outer, const outgoing *o) {
    uint32_t first = o->address >> 24;
    if (first == 0 || first >= 224 || o->port == 0) return DESTINATION;
    uint32_t address = htonl(o->address), old;
    memcpy(&old, outer + 16, 4);
    uint16_t sum = ~raw16(outer + 10);
    sum = add16(add16(sum, ~(uint16_t)old), address);
    sum = ~add16(add16(sum, ~(uint16_t)(old >> 16)), address >> 16);
    memcpy(outer + 10, &sum, 2);
    memcpy(outer + 16, &address, 4);
    put16(outer + 22, o->port);
    return 0;
}

static inline uint32_t put_header(uint8_t *ip, uint32_t start, uint32_t octets, uint32_t len, const egress *e,
                                  const outgoing *o) {
    if (start < len) return NO_HEADROOM;
    uint8_t *to = ip - len, *outer = ip - 28;
    const uint8_t *made = e->header + len - 28;
    uint32_t class = o->class & e->class_mask;
    uint16_t udp = htons(octets + 8), total = htons(octets + 28), sum = raw16(made + 10);
    uint8_t own = made[1];
    memcpy(to, e->header, len);
    sum = ~add16(add16(sum, total), class << 8);
    outer[1] = own | class;
    memcpy(outer + 2, &total, 2);
    memcpy(outer + 10, &sum, 2);
    memcpy(outer + 24, &udp, 2);
    if (o->redirected) return e->multipoint ? redirect(outer, o) : DESTINATION;
    return 0;
}

static inline uint32_t
encapsulate(uint8_t *ip, uint32_t start, uint32_t octets, const egress *e, const outgoing *o) {
    if (octets > e->mtu) return TOO_LONG;
    switch (e->len) {
    case 42: return put_header(ip, start, octets, 42, e, o);
    case 46: return put_header(ip, start, octets, 46, e, o);
    case 28: return put_header(ip, start, octets, 28, e, o);
    default: return NO_MATCH; // no templates
    }
}

__attribute__((cold, noinline)) static uint32_t other_engine(const engine *e, const key *asked) {
    if (e->kind == LINEAR) {
        for (uint32_t at = 0; at < e->rows; at++) {
            const row *r = &e->linear[at];
            if (!(((asked->high ^ r->value.high) & r->mask.high) | ((asked->low ^ r->value.low) & r->mask.low)))
                return r->record;
        }
    }
    return 0;
}

static inline uint32_t look_up(const engine *e, const key *asked) {
    if (e->kind != ROUTES) return other_engine(e, asked);
    uint32_t to = asked->low, entry = e->top[to >> 8];
    return entry & LONGER ? e->chunks[entry ^ LONGER][to & 255] : entry;
}

__attribute__((cold, noinline)) static uint32_t refusal(const struct same *f, uint32_t queue, uint32_t octets) {
    if (f->queues[queue].quantum == 0) return UNKNOWN_QUEUE;
    return octets > f->longest ? TOO_LONG : QUEUE_FULL;
}

static inline uint32_t enqueue(struct same *f, uint32_t id, uint8_t *buffer, uint32_t start, uint32_t octets) {
    line *q = &f->queues[id];
    uint32_t at = f->free;
    uint64_t filled = q->octets + octets;
    if (q->packets >= q->limit_packets || filled > q->limit_octets || octets > f->longest || at == (uint32_t)NONE)
        return refusal(f, id, octets);
    descriptor *d = &f->pool[at];
    f->free = d->next;
    d->buffer = buffer, d->start = start, d->octets = octets;
    q->octets = filled;
    uint32_t tail = q->tail;
    q->tail = at;
    if (q->packets++) {
        f->pool[tail].next = at;
        return 0;
    }
    q->head = at;
    if (f->turn != (uint32_t)NONE) f->queues[f->last].next = id; else f->turn = id;
    f->last = id;
    return 0;
}

static inline int dequeue(struct same *f, departure *out) {
    for (;;) {
        uint32_t turn = f->turn;
        if (turn == (uint32_t)NONE) return 0;
        line *q = &f->queues[turn];
        uint32_t at = q->head;
        descriptor *d = &f->pool[at];
        if (!f->credited) { q->deficit += q->quantum; f->credited = 1; }
        uint32_t octets = d->octets;
        if (octets <= q->deficit) {
            q->deficit -= octets;
            q->head = d->next;
            d->next = f->free;
            f->free = at;
            q->octets -= octets;
            *out = (departure){d->buffer, octets, turn, d->start, q->owner, 0};
            if (--q->packets == 0) {
                q->deficit = 0;
                f->credited = 0;
                f->turn = q->next;
                q->next = NONE;
            }
            return 1;
        }
        f->credited = 0;
        if (q->next != (uint32_t)NONE) {
            f->turn = q->next;
            q->next = NONE;
            f->queues[f->last].next = turn;
            f->last = turn;
        }
    }
}

// Counts a packet that leaves early; an exception is offered to the slow path. Whether it
// stays in the vector.
__attribute__((cold, noinline)) static uint32_t
leave(struct same *f, uint64_t now, uint32_t exit, const lane *l, packet *p) {
    uint32_t slice = l->to.slice, octets = p->octets, taken = 0;
    if (exit >= FIRST_EXCEPTION) {
        taken = f->slow && f->slow(f, now, exit, l, p);
        if (!taken) exit = NO_SLOW_PATH;
    }
    f->left[slice][exit - 1].packets++;
    f->left[slice][exit - 1].octets += octets;
    p->exit = exit, p->slice = slice;
    return !taken;
}

// Takes up to 32 packets into the queues. Returns how many are left, each with its exit.
__attribute__((noinline)) uint32_t
fused_same_process(struct same *restrict f, uint64_t now, packet *restrict vector, uint32_t n) {
    lane lanes[VECTOR];
    key keys[VECTOR];
    uint32_t left = 0;
    for (uint32_t k = 0; k < n; k++) {
        const uint8_t *frame = vector[k].buffer + vector[k].start;
        __builtin_prefetch(frame);
        __builtin_prefetch(frame + 64);
    }
    for (uint32_t k = 0; k < n; k++) {
        packet *p = &vector[k];
        lane *l = &lanes[k];
        l->to = (admission){0};
        p->exit = 0;
        uint32_t exit = admit(f, p, l);
        if (!exit) {
            switch (l->to.option) {
            case 0: exit = parse_ipv4(f, p->buffer + l->start, l, &keys[k]); break;
            default: exit = UNKNOWN_OPTION;
            }
        }
        if (exit) {
            left += leave(f, now, exit, l, p);
            l->to.slice = 0;
            keys[k].high = 0;
            continue;
        }
        const engine *e = &f->engines[l->to.slice];
        if (e->kind == ROUTES) __builtin_prefetch(&e->top[(uint32_t)keys[k].low >> 8]);
    }
    for (uint32_t from = 0; from < n; from += GROUP) {
        uint32_t found[GROUP], to = from + GROUP < n ? from + GROUP : n;
        for (uint32_t k = from; k < to; k++)
            found[k - from] = look_up(&f->engines[keys[k].high >> 48], &keys[k]);
        if (f->records > CACHED)
            for (uint32_t k = from; k < to; k++) __builtin_prefetch(&f->egresses[found[k - from] - 1]);
        for (uint32_t k = from; k < to; k++) {
            packet *p = &vector[k];
            const lane *l = &lanes[k];
            uint32_t exit, id = found[k - from] - 1;
            if (l->to.slice == 0) continue;
            if (id >= f->records) { left += leave(f, now, NO_MATCH, l, p); continue; }
            const egress *restrict e = &f->egresses[id];
            if (e->exit) { left += leave(f, now, e->exit, l, p); continue; }
            uint8_t *restrict ip = p->buffer + l->start;
            uint32_t start = l->start, octets = l->octets, len = e->len;
            outgoing o;
            switch (l->to.option) {
            case 0: exit = format_ipv4(ip, &octets, e, l, &o); break;
            default: exit = UNKNOWN_OPTION;
            }
            if (exit || (exit = encapsulate(ip, start, octets, e, &o))) {
                left += leave(f, now, exit, l, p);
                continue;
            }
            octets += len;
            exit = enqueue(f, e->queue, p->buffer, start - len, octets);
            if (exit) {
                p->start = start - len, p->octets = octets;
                left += leave(f, now, exit, l, p);
                continue;
            }
            f->queued[id].packets++;
            f->queued[id].octets += octets;
        }
    }
    return left;
}

// The send of a driver that always has room: the buffer is free again.
static inline int transmit(const departure *d, uint8_t **free) { *free = d->buffer; return 1; }

// Takes up to `budget` packets out of the queues, their buffers into `free`. How many.
__attribute__((noinline)) uint32_t
fused_same_drain(struct same *restrict f, uint64_t now, uint8_t **restrict free, uint32_t budget) {
    uint32_t sent = 0;
    departure d;
    (void)now;
    while (sent < budget && dequeue(f, &d)) {
        if (d.verdict || !transmit(&d, &free[sent])) continue; // never here: no policy drops
        f->sent[d.queue].packets++;
        f->sent[d.queue].octets += d.octets;
        sent++;
    }
    return sent;
}

void fused_same_free(struct same *f) {
    free(f->engines[1].top);
    free(f->engines[1].chunks);
    free(f->engines[1].linear);
    free(f->pool);
    free(f);
}

// One slice with routes, of which `longer` /24 hold longer prefixes; `packets` may wait.
struct same *fused_same_new(uint32_t packets, uint32_t longer) {
    struct same *f = aligned_alloc(64, (sizeof *f + 63) & ~63ull);
    if (!f) return NULL;
    memset(f, 0, sizeof *f);
    f->pool = calloc(packets, sizeof *f->pool);
    engine *e = &f->engines[1];
    e->kind = ROUTES;
    e->top = aligned_alloc(2u << 20, 2u << 24);
    e->chunks = calloc(longer ? longer : 1, sizeof *e->chunks);
    if (!f->pool || !e->top || !e->chunks) { fused_same_free(f); return NULL; }
    memset(e->top, 0, 2u << 24);
    e->used = 0, e->rows = longer;
    f->shift = 64 - LINKS_LOG2;
    for (uint32_t port = 0; port < PORTS; port++) {
        uint64_t key = port_key(0x0a000001, FIRST_PORT + port);
        for (uint32_t at = key * 0x9e3779b97f4a7c15 >> f->shift, d = 1;; at = (at + 1) & ((1 << LINKS_LOG2) - 1), d++) {
            if (f->ports[at].key) continue;
            f->ports[at] = (port_entry){key, {.slice = 1, .link = port}, 0};
            if (d > f->probes) f->probes = d;
            break;
        }
    }
    f->suspects[0] = 1, f->suspects[1] = 1ull << 63, f->suspects[2] = 1ull << (169 - 128);
    f->suspects[3] = UINT64_MAX << 32;
    static const uint32_t weights[QUEUES] = {6, 5, 4, 3, 2};
    for (uint32_t q = 0; q < QUEUES; q++)
        f->queues[q] = (line){.head = NONE, .tail = NONE, .next = NONE, .limit_packets = UINT32_MAX,
                              .limit_octets = UINT64_MAX, .quantum = 750 * weights[q], .owner = 1};
    for (uint32_t at = 0; at < packets; at++) f->pool[at].next = at + 1 < packets ? at + 1 : (uint32_t)NONE;
    f->turn = f->last = NONE, f->longest = 1500;
    return f;
}

void fused_same_record(struct same *f, uint32_t record, const uint8_t *header, uint32_t mtu) {
    egress *e = &f->egresses[record];
    *e = (egress){.queue = record, .mtu = mtu, .class_mask = 3, .len = HEADER};
    memcpy(e->header, header, HEADER);
    if (f->records <= record) f->records = record + 1;
}

// Routes come with the shorter prefixes first. Whether there was room.
int fused_same_route(struct same *f, uint32_t network, uint32_t len, uint32_t record) {
    engine *e = &f->engines[1];
    uint16_t *top = &e->top[network >> 8];
    if (len <= 24) {
        for (uint32_t at = 0; at < 1u << (24 - len); at++) top[at] = record + 1;
        return 1;
    }
    if (!(*top & LONGER)) {
        if (e->used == e->rows) return 0;
        for (uint32_t at = 0; at < 256; at++) e->chunks[e->used][at] = *top;
        *top = LONGER | e->used++;
    }
    for (uint32_t at = 0; at < 1u << (32 - len); at++)
        e->chunks[*top ^ LONGER][(network & 255) + at] = record + 1;
    return 1;
}

// Gives the slice filters in the place of its routes, the first that matches wins: to check
// the keys. Whether there was room.
int fused_same_filters(struct same *f, const row *rows, uint32_t n) {
    engine *e = &f->engines[1];
    row *linear = calloc(n ? n : 1, sizeof *linear);
    if (!linear) return 0;
    for (uint32_t at = 0; at < n; at++) linear[at] = rows[at], linear[at].record++;
    free(e->top);
    free(e->chunks);
    free(e->linear);
    *e = (engine){.kind = LINEAR, .rows = n, .linear = linear};
    return 1;
}

// Packets and octets: that left each queue, that each record queued, that left early by
// slice and exit.
void fused_same_counts(const struct same *f, uint64_t sent[2 * QUEUES], uint64_t queued[2 * QUEUES],
                       uint64_t left[2 * 2 * ROW]) {
    memcpy(sent, f->sent, sizeof f->sent);
    memcpy(queued, f->queued, sizeof f->queued);
    memcpy(left, f->left, sizeof f->left);
}
