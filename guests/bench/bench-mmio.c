/* Reads of a device register in memory, the local APIC's ID; one unit is one read. */
#include "bench.h"

void guest_main(void) {
    unsigned long units = begin(100000), sum = 0;
    for (unsigned long i = 0; i < units; i++) sum += mmio_read(LAPIC_BASE + LAPIC_ID);
    done(units, sum);
}
