// Starts DPDK for the programs that compare with it.

#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>

#include <rte_eal.h>

// Starts DPDK without huge pages, devices or files. It binds the calling thread to a core;
// that is undone, so that all sides run alike. 0 if it went well.
int peer_start(void) {
    cpu_set_t before;
    if (sched_getaffinity(0, sizeof before, &before)) return -1;
    int first = 0;
    while (first < CPU_SETSIZE && !CPU_ISSET(first, &before)) first++;
    char core[16];
    snprintf(core, sizeof core, "%d", first);
    char *arguments[] = {"peers",        "-l",  core,           "--no-huge",      "--no-pci",
                         "--no-shconf",  "-m",  "4000",         "--no-telemetry", "--log-level=3",
                         "--force-max-simd-bitwidth=512"};
    int started = rte_eal_init(sizeof arguments / sizeof *arguments, arguments);
    sched_setaffinity(0, sizeof before, &before);
    return started < 0 ? -1 : 0;
}
