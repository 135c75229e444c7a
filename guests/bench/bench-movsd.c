/* 16 MiB copied by REP MOVSD; one unit is one copy. */
#include "copy.h"

static void copy(void) {
    uint32_t *to = TO;
    const uint32_t *from = FROM;
    unsigned long count = WORDS;
    __asm__ volatile("rep movsl" : "+S"(from), "+D"(to), "+c"(count)::"memory");
}

void guest_main(void) {
    prepare();
    unsigned long units = begin(1);
    for (unsigned long i = 0; i < units; i++) copy();
    done(units, verify());
}
