// The whole path fused into one loop by hand: what one core does when nothing is
// composable. The floor that the crate's blocks are held against.
//
// It does what the blocks do for this traffic: outer and inner header checks, slice by
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
