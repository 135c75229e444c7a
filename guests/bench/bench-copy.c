/* 16 MiB copied by 32-bit loads and stores, unrolled eight times; one unit is one copy. */
#include "copy.h"

static void copy(void) {
    uint32_t *to = TO, *end = FROM + WORDS;
    for (const uint32_t *from = FROM; from < end; from += 8, to += 8) {
        __asm__ volatile("movl 0(%0), %%eax; movl %%eax, 0(%1); movl 4(%0), %%eax; movl %%eax, 4(%1);"
                         "movl 8(%0), %%eax; movl %%eax, 8(%1); movl 12(%0), %%eax; movl %%eax, 12(%1);"
                         "movl 16(%0), %%eax; movl %%eax, 16(%1); movl 20(%0), %%eax; movl %%eax, 20(%1);"
                         "movl 24(%0), %%eax; movl %%eax, 24(%1); movl 28(%0), %%eax; movl %%eax, 28(%1);" ::"r"(from),
                         "r"(to)
                         : "eax", "memory");
    }
}

void guest_main(void) {
    prepare();
    unsigned long units = begin(1);
    for (unsigned long i = 0; i < units; i++) copy();
    done(units, verify());
}
