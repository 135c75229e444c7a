/* 16 MiB copied by REP MOVSB; one unit is one copy. */
#include "copy.h"

static void copy(void) {
    uint32_t *to = TO;
    const uint32_t *from = FROM;
    unsigned long count = BYTES;
    __asm__ volatile("rep movsb" : "+S"(from), "+D"(to), "+c"(count)::"memory");
}

void guest_main(void) {
    prepare();
    unsigned long units = begin(1);
    for (unsigned long i = 0; i < units; i++) copy();
    done(units, verify());
}
