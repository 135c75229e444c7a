/* Local APIC timer, one shot of 1000 ticks, armed again in the handler, HLT between; one unit is one interrupt. */
#include "bench.h"

#define VECTOR 0x60
#define TICKS 1000

static volatile unsigned long interrupts;

__attribute__((interrupt)) static void on_timer(struct interrupt_frame *frame) {
    (void)frame;
    interrupts++;
    mmio_write(LAPIC_BASE + LAPIC_TIMER_INITIAL, TICKS);
    mmio_write(LAPIC_BASE + LAPIC_EOI, 0);
}

void guest_main(void) {
    set_gate_to(VECTOR, on_timer, GATE_INTERRUPT, 0);
    unsigned long units = begin(1000);
    lapic_write(LAPIC_TIMER_DIVIDE, 0xB);
    lapic_write(LAPIC_LVT_TIMER, VECTOR);
    lapic_write(LAPIC_TIMER_INITIAL, TICKS);
    while (interrupts < units) sti_hlt_cli();
    lapic_write(LAPIC_TIMER_INITIAL, 0);
    done(units, units);
}
