// DPDK's tables for `lookup`: rte_acl, rte_fib, rte_lpm, rte_fib6 and rte_hash, looked up in batches
// of any size. What is timed is what a user of DPDK would write; keys are in the form each
// table takes, and answers in the form it gives.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_acl.h>
#include <rte_byteorder.h>
#include <rte_errno.h>
#include <rte_fib.h>
#include <rte_fib6.h>
#include <rte_hash.h>
#include <rte_hash_crc.h>
#include <rte_lpm.h>
#include <rte_malloc.h>

enum { SLICES = 16, BATCH = 32 };

static char name[32];

// Names are those of shared memory: none twice.
static const char *new_name(void) {
    static unsigned number;
    snprintf(name, sizeof name, "t%u", number++);
    return name;
}

// Octets that its tables have.
size_t peer_octets(void) {
    struct rte_malloc_socket_stats stats;
    rte_malloc_get_socket_stats(0, &stats);
    return stats.heap_allocsz_bytes;
}

// A rule: ports are ranges, the rest prefixes and a mask.
struct peer_rule {
    uint32_t source, destination;
    uint16_t source_low, source_high, destination_low, destination_high;
    uint8_t source_len, destination_len, protocol, protocol_mask;
    uint32_t slice, number;
};

// A key as rte_acl reads it, in network order.
struct peer_key {
    uint8_t protocol, pad[3];
    uint32_t slice, source, destination;
    uint16_t source_port, destination_port;
};

RTE_ACL_RULE_DEF(wide_rule, 6);

// The first field has one octet; the slice comes next, as the level of a trie that it is.
static const struct rte_acl_field_def fields[6] = {
    {RTE_ACL_FIELD_TYPE_BITMASK, 1, 0, 0, 0}, {RTE_ACL_FIELD_TYPE_MASK, 4, 1, 1, 4},
    {RTE_ACL_FIELD_TYPE_MASK, 4, 2, 2, 8},    {RTE_ACL_FIELD_TYPE_MASK, 4, 3, 3, 12},
    {RTE_ACL_FIELD_TYPE_RANGE, 2, 4, 4, 16},  {RTE_ACL_FIELD_TYPE_RANGE, 2, 5, 4, 18},
};

static int add(struct rte_acl_ctx *ctx, const struct peer_rule *rule, unsigned n, int sliced) {
    struct wide_rule wide = {.data = {.category_mask = 1, .priority = (int32_t)(n - rule->number), .userdata = rule->number + 1u}};
    struct rte_acl_field *field = wide.field;
    field[0].value.u8 = rule->protocol, field[0].mask_range.u8 = rule->protocol_mask;
    if (sliced) {
        field++;
        field->value.u32 = rule->slice, field->mask_range.u32 = 32;
    }
    field[1].value.u32 = rule->source, field[1].mask_range.u32 = rule->source_len;
    field[2].value.u32 = rule->destination, field[2].mask_range.u32 = rule->destination_len;
    field[3].value.u16 = rule->source_low, field[3].mask_range.u16 = rule->source_high;
    field[4].value.u16 = rule->destination_low, field[4].mask_range.u16 = rule->destination_high;
    return rte_acl_add_rules(ctx, (const struct rte_acl_rule *)&wide, 1);
}

// A context of `n` rules; their numbers are below `n`, and of those that match the lowest
// wins within a slice. With `sliced` the key's slice counts. Null if it cannot be built.
void *peer_acl_new(const struct peer_rule *rules, unsigned n, int sliced) {
    unsigned count = sliced ? 6 : 5;
    struct rte_acl_param parameters = {
        .name = new_name(), .socket_id = SOCKET_ID_ANY, .rule_size = RTE_ACL_RULE_SZ(count), .max_rule_num = n};
    struct rte_acl_ctx *ctx = rte_acl_create(&parameters);
    if (!ctx) return NULL;
    int failed = 0;
    for (unsigned i = 0; i < n && !failed; i++) failed = add(ctx, &rules[i], n, sliced);
    struct rte_acl_config config = {.num_categories = 1, .num_fields = count};
    memcpy(config.defs, fields, sizeof fields);
    for (unsigned i = 1; i < count && !sliced; i++) {
        config.defs[i] = fields[i + 1];
        config.defs[i].field_index = i;
        config.defs[i].input_index--;
    }
    if (failed || rte_acl_build(ctx, &config)) {
        rte_acl_free(ctx);
        return NULL;
    }
    return ctx;
}

void peer_acl_free(void *ctx) { rte_acl_free(ctx); }

// Looks `n` keys up, `batch` at a time, in one context. 0 if the algorithm can be had.
int peer_acl_run(const void *ctx, const struct peer_key *const *keys, uint32_t *found, unsigned n, unsigned batch, int algorithm) {
    for (unsigned i = 0; i < n; i += batch) {
        unsigned some = RTE_MIN(batch, n - i);
        int wrong = rte_acl_classify_alg(ctx, (const uint8_t **)(uintptr_t)(keys + i), found + i, some, 1, algorithm);
        if (wrong) return wrong;
    }
    return 0;
}

// The same with a context for each slice: the keys of a batch are sorted by slice first.
int peer_acl_run_each(void *const *contexts, const struct peer_key *const *keys, uint32_t *found, unsigned n, unsigned batch, int algorithm) {
    if (batch > BATCH) return -1;
    for (unsigned i = 0; i < n; i += batch) {
        unsigned some = RTE_MIN(batch, n - i), count[SLICES] = {0};
        const uint8_t *by_slice[SLICES][BATCH];
        uint8_t from[SLICES][BATCH];
        for (unsigned j = 0; j < some; j++) {
            unsigned slice = rte_be_to_cpu_32(keys[i + j]->slice) % SLICES, at = count[slice]++;
            by_slice[slice][at] = (const uint8_t *)keys[i + j];
            from[slice][at] = j;
        }
        for (unsigned slice = 0; slice < SLICES; slice++) {
            uint32_t answers[BATCH];
            if (!count[slice]) continue;
            int wrong = rte_acl_classify_alg(contexts[slice], by_slice[slice], answers, count[slice], 1, algorithm);
            if (wrong) return wrong;
            for (unsigned j = 0; j < count[slice]; j++) found[i + from[slice][j]] = answers[j];
        }
    }
    return 0;
}

// Routes: address, length and next hop, 1 to 32,767; answers of 0 are none.
struct peer_route4 { uint32_t address, next_hop; uint8_t len; };
struct peer_route6 { uint8_t address[16]; uint32_t next_hop; uint8_t len; };

void *peer_fib_new(unsigned routes) {
    struct rte_fib_conf conf = {.type = RTE_FIB_DIR24_8, .default_nh = 0, .max_routes = routes * 2 + 1000};
    conf.dir24_8.nh_sz = RTE_FIB_DIR24_8_2B;
    conf.dir24_8.num_tbl8 = 16384;
    struct rte_fib *fib = rte_fib_create(new_name(), SOCKET_ID_ANY, &conf);
    // The widest that this processor has, or what it is by default.
    if (fib) rte_fib_select_lookup(fib, RTE_FIB_LOOKUP_DIR24_8_VECTOR_AVX512);
    return fib;
}
int peer_fib_add(void *fib, const struct peer_route4 *r) { return rte_fib_add(fib, r->address, r->len, r->next_hop); }
int peer_fib_delete(void *fib, const struct peer_route4 *r) { return rte_fib_delete(fib, r->address, r->len); }
void peer_fib_free(void *fib) { rte_fib_free(fib); }
void peer_fib_run(void *fib, uint32_t *keys, uint64_t *found, unsigned n, unsigned batch) {
    for (unsigned i = 0; i < n; i += batch) rte_fib_lookup_bulk(fib, keys + i, found + i, RTE_MIN(batch, n - i));
}

void *peer_lpm_new(unsigned routes) {
    struct rte_lpm_config conf = {.max_rules = routes + 1000, .number_tbl8s = 1 << 16};
    return rte_lpm_create(new_name(), SOCKET_ID_ANY, &conf);
}
int peer_lpm_add(void *lpm, const struct peer_route4 *r) { return rte_lpm_add(lpm, r->address, r->len, r->next_hop); }
int peer_lpm_delete(void *lpm, const struct peer_route4 *r) { return rte_lpm_delete(lpm, r->address, r->len); }
void peer_lpm_free(void *lpm) { rte_lpm_free(lpm); }
// Answers have a flag above 24 bits of next hop; without it the rest means nothing.
void peer_lpm_run(void *lpm, const uint32_t *keys, uint32_t *found, unsigned n, unsigned batch) {
    if (batch == 1) {
        for (unsigned i = 0; i < n; i++) {
            uint32_t hop = 0;
            found[i] = rte_lpm_lookup(lpm, keys[i], &hop) ? 0 : hop | RTE_LPM_LOOKUP_SUCCESS;
        }
    } else {
        for (unsigned i = 0; i < n; i += batch) rte_lpm_lookup_bulk(lpm, keys + i, found + i, RTE_MIN(batch, n - i));
    }
}

void *peer_fib6_new(unsigned routes) {
    struct rte_fib6_conf conf = {.type = RTE_FIB6_TRIE, .default_nh = 0, .max_routes = routes * 4 + 1000};
    conf.trie.nh_sz = RTE_FIB6_TRIE_4B;
    conf.trie.num_tbl8 = 1 << 19;
    struct rte_fib6 *fib = rte_fib6_create(new_name(), SOCKET_ID_ANY, &conf);
    if (fib) rte_fib6_select_lookup(fib, RTE_FIB6_LOOKUP_TRIE_VECTOR_AVX512);
    return fib;
}
int peer_fib6_add(void *fib, const struct peer_route6 *r) { return rte_fib6_add(fib, r->address, r->len, r->next_hop); }
int peer_fib6_delete(void *fib, const struct peer_route6 *r) { return rte_fib6_delete(fib, r->address, r->len); }
void peer_fib6_free(void *fib) { rte_fib6_free(fib); }
void peer_fib6_run(void *fib, uint8_t (*keys)[16], uint64_t *found, unsigned n, unsigned batch) {
    for (unsigned i = 0; i < n; i += batch) rte_fib6_lookup_bulk(fib, keys + i, found + i, RTE_MIN(batch, n - i));
}

// Identifiers of 16 octets, with numbers from 1 on; answers of 0 are none. Readers may run
// beside a writer. The hash has no key.
void *peer_hash_new(unsigned entries) {
    struct rte_hash_parameters parameters = {
        .name = new_name(), .entries = entries + entries / 2, .key_len = 16, .hash_func = rte_hash_crc,
        .socket_id = (int)rte_socket_id(), .extra_flag = RTE_HASH_EXTRA_FLAGS_RW_CONCURRENCY_LF};
    return rte_hash_create(&parameters);
}
int peer_hash_add(void *hash, const uint8_t (*key)[16], uint32_t value) {
    return rte_hash_add_key_data(hash, key, (void *)(uintptr_t)value);
}
void peer_hash_free(void *hash) { rte_hash_free(hash); }
void peer_hash_run(const void *hash, const uint8_t (*keys)[16], uint32_t *found, unsigned n, unsigned batch) {
    void *data[BATCH];
    if (batch == 1) {
        for (unsigned i = 0; i < n; i++)
            found[i] = rte_hash_lookup_data(hash, keys + i, data) < 0 ? 0 : (uint32_t)(uintptr_t)*data;
        return;
    }
    for (unsigned i = 0; i < n; i += BATCH) {
        unsigned some = RTE_MIN((unsigned)BATCH, n - i);
        const void *pointers[BATCH];
        uint64_t hits = 0;
        for (unsigned j = 0; j < some; j++) pointers[j] = keys + i + j;
        rte_hash_lookup_bulk_data(hash, pointers, some, &hits, data);
        for (unsigned j = 0; j < some; j++) found[i + j] = hits >> j & 1 ? (uint32_t)(uintptr_t)data[j] : 0;
    }
}
