/* IPI from CPU 0 to CPU 1 and back, both sleeping (HLT) while they wait; one unit is one round trip. */
#include "bench.h"

#define PING 0x60
#define PONG 0x61

static volatile unsigned long pings, pongs;

__attribute__((interrupt)) static void on_ping(struct interrupt_frame *frame) {
    (void)frame;
    pings++;
    mmio_write(LAPIC_BASE + LAPIC_EOI, 0);
    mmio_write(LAPIC_BASE + LAPIC_ICR_HIGH, 0 << 24);
    mmio_write(LAPIC_BASE + LAPIC_ICR, ICR_ASSERT | PONG);
}

__attribute__((interrupt)) static void on_pong(struct interrupt_frame *frame) {
    (void)frame;
    pongs++;
    mmio_write(LAPIC_BASE + LAPIC_EOI, 0);
}

void guest_main(void) {
    set_gate_to(PING, on_ping, GATE_INTERRUPT, 0);
    set_gate_to(PONG, on_pong, GATE_INTERRUPT, 0);
    start_cpus(2);
    unsigned long units = begin(1000);
    mmio_write(LAPIC_BASE + LAPIC_ICR_HIGH, 1 << 24);
    for (unsigned long i = 0; i < units; i++) {
        mmio_write(LAPIC_BASE + LAPIC_ICR, ICR_ASSERT | PING);
        while (pongs <= i) sti_hlt_cli();
    }
    done(units, pings);
}
