/*
 * Every benchmark: "BEGIN", n units of work, "DONE n", "SUM x", exit. The host measures the time between the first two
 * lines; n comes from the command line (n=12345). SUM shows that the work was done, and is equal on every machine.
 */
#ifndef BENCH_H
#define BENCH_H

#include "guest.h"

/* Waiting for the line to go out leaves every interrupt source masked: set them up after it. */
static inline unsigned long begin(unsigned long default_units) {
    unsigned long units = command_number("n", default_units);
    printf("BEGIN\n");
    drain_serial();
    return units;
}

static inline void done(unsigned long units, unsigned long sum) {
    printf("DONE %lu\nSUM %lx\n", units, sum);
    check("done", true);
    finish();
}

#endif
