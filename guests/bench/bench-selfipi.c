/* Self-IPI, STI;HLT, EOI; one unit is one interrupt. */
#include "bench.h"

#define VECTOR 0x60

static volatile unsigned long interrupts;

__attribute__((interrupt)) static void on_ipi(struct interrupt_frame *frame) {
    (void)frame;
    interrupts++;
    mmio_write(LAPIC_BASE + LAPIC_EOI, 0);
}

void guest_main(void) {
    set_gate_to(VECTOR, on_ipi, GATE_INTERRUPT, 0);
    unsigned long units = begin(10000);
    for (unsigned long i = 0; i < units; i++) {
        mmio_write(LAPIC_BASE + LAPIC_ICR, ICR_SELF | ICR_ASSERT | VECTOR);
        sti_hlt_cli();
    }
    done(units, interrupts);
}
