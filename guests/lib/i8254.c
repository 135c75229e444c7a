/* The 8254. */
#include "guest.h"

/* Count is loaded low byte first. */
void pit_start(unsigned channel, unsigned mode, uint16_t count) {
    outb(0x43, (uint8_t)(channel << 6 | 0x30 | mode << 1));
    outb((uint16_t)(0x40 + channel), (uint8_t)count);
    outb((uint16_t)(0x40 + channel), (uint8_t)(count >> 8));
}

uint16_t pit_read(unsigned channel) {
    outb(0x43, (uint8_t)(channel << 6)); /* latch */
    uint8_t low = inb((uint16_t)(0x40 + channel));
    return (uint16_t)(low | inb((uint16_t)(0x40 + channel)) << 8);
}
