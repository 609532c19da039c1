// Deficit round robin by hand, in the form of dummynet's dn_sched_rr.c: packets linked through
// their buffers, a circle of the queues that have packets, limits and counts of a queue. It has
// no rate, no reserves, no drop policy, no times, queues are never changed, and a queue whose quantum is
// below its packets is gone round to until it has earned them.

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

struct peer_packet { uint32_t queue, octets; };

struct buffer {
    struct buffer *next;
    uint32_t number, octets;
};

struct queue {
    struct buffer *head, *tail;
    struct queue *next;
    uint32_t length, octets, limit;
    uint32_t credit, quantum, active;
    uint64_t total_packets, total_octets;
} __attribute__((aligned(64)));

struct peer_drr {
    struct queue *queues;
    struct buffer *buffers, *free;
    // The queue that is served, and the one before it in the circle.
    struct queue *head, *tail;
};

void peer_drr_free(struct peer_drr *s) {
    free(s->queues);
    free(s->buffers);
    free(s);
}

struct peer_drr *peer_drr_new(uint32_t queues, uint32_t room, const uint32_t *quanta) {
    struct peer_drr *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->queues = aligned_alloc(64, queues * sizeof *s->queues);
    s->buffers = aligned_alloc(64, (room * sizeof *s->buffers + 63) / 64 * 64);
    if (!s->queues || !s->buffers) {
        peer_drr_free(s);
        return NULL;
    }
    for (uint32_t at = 0; at < queues; at++) s->queues[at] = (struct queue){.limit = room, .quantum = quanta[at]};
    for (uint32_t at = room; at-- > 0;) {
        s->buffers[at] = (struct buffer){.next = s->free};
        s->free = &s->buffers[at];
    }
    return s;
}

static inline int enqueue(struct peer_drr *s, struct peer_packet packet, uint32_t number) {
    struct queue *q = &s->queues[packet.queue];
    struct buffer *b = s->free;
    if (!b || q->length >= q->limit) return 1;
    s->free = b->next;
    *b = (struct buffer){.number = number, .octets = packet.octets};
    if (q->head) q->tail->next = b;
    else q->head = b;
    q->tail = b;
    q->length++;
    q->octets += packet.octets;
    q->total_packets++;
    q->total_octets += packet.octets;
    if (q->active) return 0;
    q->active = 1;
    q->credit = q->quantum;
    if (!s->head) s->head = q;
    else s->tail->next = q;
    s->tail = q;
    q->next = s->head;
    return 0;
}

static inline struct buffer *dequeue(struct peer_drr *s) {
    while (s->head) {
        struct queue *q = s->head;
        struct buffer *b = q->head;
        if (!b) {
            q->active = 0;
            if (q == s->tail) s->head = s->tail = NULL;
            else s->head = s->tail->next = q->next;
            continue;
        }
        if (b->octets > q->credit) {
            q->credit += q->quantum;
            s->tail = q;
            s->head = q->next;
            continue;
        }
        q->credit -= b->octets;
        q->head = b->next;
        q->length--;
        q->octets -= b->octets;
        return b;
    }
    return NULL;
}

int peer_drr_put(struct peer_drr *s, const struct peer_packet *packets, uint32_t n, uint32_t first) {
    for (uint32_t at = 0; at < n; at++)
        if (enqueue(s, packets[at], first + at)) return 1;
    return 0;
}

// `batch` in and as many out, and again; the numbers of those that left.
int peer_drr_run(struct peer_drr *s, const struct peer_packet *packets, uint32_t n, uint32_t batch, uint32_t first,
                 uint32_t *left) {
    for (uint32_t from = 0; from < n; from += batch) {
        if (peer_drr_put(s, packets + from, batch, first + from)) return 1;
        for (uint32_t at = 0; at < batch; at++) {
            struct buffer *b = dequeue(s);
            if (!b) return 2;
            left[from + at] = b->number;
            b->next = s->free;
            s->free = b;
        }
    }
    return 0;
}

// What still waits, up to `n`; how many.
uint32_t peer_drr_drain(struct peer_drr *s, uint32_t n, uint32_t *left) {
    uint32_t count = 0;
    for (struct buffer *b; count < n && (b = dequeue(s)); count++) {
        left[count] = b->number;
        b->next = s->free;
        s->free = b;
    }
    return count;
}
