// The workloads as an ordinary program: `main WORKLOAD ROUNDS REPETITIONS` prints for each repetition the
// nanoseconds of processor time per round and the result in hexadecimal.

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

// What the benchmark's handler does for the guest: reads 32 bytes, writes 8, returns a status.
static __attribute__((noinline)) unsigned int handler(void *device, void *irp)
{
    const unsigned long long *in = device;
    unsigned long long value = in[0] + in[1] * 3 + (in[2] ^ in[3]);
    *(unsigned long long *)irp = value;
    return (unsigned int)(value >> 40) & 0xff;
}

// As through an import: the compiler must not know where it leads.
static unsigned int (*volatile import)(void *, void *) = handler;
#define CALL(device, irp) import(device, irp)

#include "../guest/workloads.c"

static double now(void)
{
    struct timespec time;
#ifdef CLOCK_THREAD_CPUTIME_ID
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
#else
    timespec_get(&time, TIME_UTC);
#endif
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: %s WORKLOAD ROUNDS REPETITIONS\n", argv[0]);
        return 2;
    }
    u64 which = strtoull(argv[1], NULL, 0), rounds = strtoull(argv[2], NULL, 0);
    for (u64 i = strtoull(argv[3], NULL, 0); i > 0; i--) {
        double start = now();
        u64 result = RunWorkload(which, rounds);
        printf("%.3f %llx\n", (now() - start) / (double)rounds, result);
    }
    return 0;
}
