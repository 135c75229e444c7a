/* Page faults on 4 KiB pages: the handler maps the page, INVLPG, and the access goes on; one unit is one fault. */
#include "bench.h"

#define REGION 0x01800000UL
#define PAGES 512

extern uint64_t page_directory_low[512];
static volatile uint64_t table[PAGES] __attribute__((aligned(4096)));
static unsigned long faults;

static void page_fault(struct trap *trap) {
    (void)trap;
    uint64_t address = read_cr2();
    table[address >> 12 & (PAGES - 1)] = (address & ~0xFFFUL) | 3;
    invlpg((void *)address);
    faults++;
}

void guest_main(void) {
    page_directory_low[REGION >> 21] = (uint64_t)table | 3;
    write_cr3(read_cr3());
    on_vector(PF, page_fault);
    unsigned long units = begin(10000);
    for (unsigned long i = 0; i < units; i++) {
        unsigned page = i & (PAGES - 1);
        volatile uint32_t *word = (volatile uint32_t *)(REGION + page * 4096);
        table[page] = 0;
        invlpg(word);
        *word = (uint32_t)i;
    }
    done(units, faults);
}
