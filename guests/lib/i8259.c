/* The 8259A pair. Common to the 64-bit and the 32-bit guests. */
#include "i8259.h"

#include "cpu.h"

void pic_setup(void) {
    outb(PIC1, 0x11); /* ICW1: edge, cascade, ICW4 follows */
    outb(PIC2, 0x11);
    outb(PIC1 + 1, PIC_BASE); /* ICW2: vectors */
    outb(PIC2 + 1, PIC_BASE + 8);
    outb(PIC1 + 1, 4); /* ICW3: slave at IR2 */
    outb(PIC2 + 1, 2);
    outb(PIC1 + 1, 1); /* ICW4: 8086, normal EOI */
    outb(PIC2 + 1, 1);
    pic_mask(0xFFFF);
}

void pic_mask(uint16_t mask) {
    outb(PIC1 + 1, (uint8_t)mask);
    outb(PIC2 + 1, (uint8_t)(mask >> 8));
}

void pic_eoi(unsigned irq) {
    if (irq >= 8) outb(PIC2, 0x20);
    outb(PIC1, 0x20);
}

static uint16_t pic_register(uint8_t ocw3) {
    outb(PIC1, ocw3);
    outb(PIC2, ocw3);
    return (uint16_t)(inb(PIC1) | inb(PIC2) << 8);
}
uint16_t pic_irr(void) { return pic_register(0x0A); }
uint16_t pic_isr(void) { return pic_register(0x0B); }
