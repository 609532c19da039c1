// DPDK's rte_sched for `sched`: one subport, so many pipes, and of each pipe the four queues of the
// best-effort class, which are served by weighted round robin. The rate is so high that no
// packet is held back. A packet's queue is written into its mbuf, as a classifier does, and mbufs
// go round: those that came out are put in again.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_sched.h>

// Packets that are under way at once.
enum { BATCH = 32, QUEUES = RTE_SCHED_BE_QUEUES_PER_PIPE };

struct peer_packet { uint32_t queue, octets; };

struct peer_sched {
    struct rte_sched_port *port;
    struct rte_mempool *pool;
    uint32_t pipes;
    // Those that are in no queue.
    uint32_t idle;
    struct rte_mbuf **mbufs;
};

void peer_sched_free(struct peer_sched *s) {
    rte_sched_port_free(s->port);
    rte_mempool_free(s->pool);
    free(s->mbufs);
    free(s);
}

static int configure(struct peer_sched *s, uint16_t room, const uint8_t weights[QUEUES]) {
    // Octets a second: some cycles of the clock for 256 of them.
    uint64_t rate = rte_get_tsc_hz() * 64;
    enum { BE = RTE_SCHED_TRAFFIC_CLASS_BE };
    struct rte_sched_pipe_params pipe = {.tb_rate = rate, .tb_size = 1000000, .tc_period = 10, .tc_ov_weight = 1};
    memcpy(pipe.wrr_weights, weights, QUEUES);
    pipe.tc_rate[BE] = rate;
    struct rte_sched_subport_params subport = {.n_pipes_per_subport_enabled = s->pipes, .pipe_profiles = &pipe,
                                               .n_pipe_profiles = 1, .n_max_pipe_profiles = 1};
    subport.qsize[BE] = room;
    struct rte_sched_subport_profile_params profile = {.tb_rate = rate, .tb_size = 1000000, .tc_period = 10};
    for (unsigned class = 0; class <= BE; class++) profile.tc_rate[class] = rate;
    struct rte_sched_port_params port = {.name = "sched", .rate = rate, .mtu = 1522,
                                         .n_subports_per_port = 1, .subport_profiles = &profile,
                                         .n_subport_profiles = 1, .n_max_subport_profiles = 1,
                                         .n_pipes_per_subport = s->pipes};
    s->port = rte_sched_port_config(&port);
    if (!s->port || rte_sched_subport_config(s->port, 0, &subport, 0)) return -1;
    for (uint32_t n = 0; n < s->pipes; n++)
        if (rte_sched_pipe_config(s->port, 0, n, 0)) return -1;
    return 0;
}

// A port of `pipes` pipes, a power of two, and `packets` packets; `room` of them, a power of two, may wait in
// a queue. Null if there is no memory.
struct peer_sched *peer_sched_new(uint32_t pipes, uint32_t packets, uint16_t room, const uint8_t weights[QUEUES]) {
    static unsigned number;
    char name[32];
    snprintf(name, sizeof name, "p%u", number++);
    struct peer_sched *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->pipes = pipes;
    s->mbufs = calloc(packets, sizeof *s->mbufs);
    // No room for octets: nobody looks into a packet.
    s->pool = rte_pktmbuf_pool_create(name, packets, 0, 0, RTE_PKTMBUF_HEADROOM, SOCKET_ID_ANY);
    if (!s->mbufs || !s->pool || configure(s, room, weights)) {
        peer_sched_free(s);
        return NULL;
    }
    while (s->idle < packets && (s->mbufs[s->idle] = rte_pktmbuf_alloc(s->pool))) s->idle++;
    return s;
}

// Puts a packet after the other in; `first` is the number of the first. Fewer than `n` if one is dropped.
static inline uint32_t put(struct peer_sched *s, const struct peer_packet *packets, uint32_t n, uint32_t first) {
    struct rte_mbuf **mbufs = s->mbufs + (s->idle -= n);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t queue = packets[i].queue;
        rte_sched_port_pkt_write(s->port, mbufs[i], 0, queue & (s->pipes - 1), RTE_SCHED_TRAFFIC_CLASS_BE,
                                 queue / s->pipes, RTE_COLOR_GREEN);
        mbufs[i]->pkt_len = packets[i].octets;
        mbufs[i]->dynfield1[0] = first + i;
    }
    return rte_sched_port_enqueue(s->port, mbufs, n);
}

// Takes `n` packets out and writes their numbers. Fewer if the port has none for a long time.
static inline uint32_t take(struct peer_sched *s, uint32_t n, uint32_t *left) {
    uint32_t taken = 0;
    for (uint32_t tries = 0; taken < n && tries < 1u << 16; tries++) {
        struct rte_mbuf **mbufs = s->mbufs + s->idle;
        uint32_t some = rte_sched_port_dequeue(s->port, mbufs, n - taken);
        for (uint32_t i = 0; i < some; i++) left[taken + i] = mbufs[i]->dynfield1[0];
        s->idle += some;
        taken += some;
    }
    return taken;
}

// Puts all in; how many were taken.
uint32_t peer_sched_put(struct peer_sched *s, const struct peer_packet *packets, uint32_t n, uint32_t first) {
    uint32_t done = 0;
    for (uint32_t i = 0; i < n; i += BATCH) done += put(s, packets + i, RTE_MIN((uint32_t)BATCH, n - i), first + i);
    return done;
}

// Puts `n` packets in, `batch` at a time, a divisor of `n`, and takes as many out after each; their numbers
// go into `left`. 0 if it went well, 1 if a packet was dropped, 2 if one was held back.
int peer_sched_run(struct peer_sched *s, const struct peer_packet *packets, uint32_t n, uint32_t batch, uint32_t first,
                   uint32_t *left) {
    for (uint32_t i = 0; i < n; i += batch) {
        if (put(s, packets + i, batch, first + i) != batch) return 1;
        if (take(s, batch, left + i) != batch) return 2;
    }
    return 0;
}

// Takes up to `n` packets out; how many.
uint32_t peer_sched_drain(struct peer_sched *s, uint32_t n, uint32_t *left) {
    uint32_t taken = 0, some;
    while (taken < n && (some = take(s, RTE_MIN((uint32_t)BATCH, n - taken), left + taken))) taken += some;
    return taken;
}
