/* 8254 channel 0 periodic, every 84 us, through the 8259, EOI, HLT between; one unit is one interrupt. */
#include "bench.h"

static volatile unsigned long interrupts;

__attribute__((interrupt)) static void on_tick(struct interrupt_frame *frame) {
    (void)frame;
    interrupts++;
    outb(PIC1, 0x20);
}

void guest_main(void) {
    set_gate_to(PIC_BASE, on_tick, GATE_INTERRUPT, 0);
    unsigned long units = begin(1000);
    lapic_write(LAPIC_LVT_LINT0, DELIVER_EXTINT);
    pit_start(0, 2, 100);
    pic_mask(0xFFFE);
    while (interrupts < units) sti_hlt_cli();
    pic_mask(0xFFFF);
    done(units, units);
}
