/* Source and destination of the copying benchmarks. The low address bits differ, as those of two heap blocks would. */
#ifndef COPY_H
#define COPY_H

#include "bench.h"

#define FROM ((uint32_t *)0x01000000)
#define TO ((uint32_t *)0x02084000)
#define BYTES (16 * 1024 * 1024)
#define WORDS (BYTES / 4)

static inline void prepare(void) {
    for (unsigned i = 0; i < WORDS; i += 16) FROM[i] = i * 2654435761u;
}

static inline unsigned long verify(void) {
    unsigned long sum = 0;
    for (unsigned i = 0; i < WORDS; i += 256) sum += TO[i];
    return sum;
}

#endif
