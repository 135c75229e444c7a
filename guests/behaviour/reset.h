/* Common to the guests that reset the machine: a byte of the clock's battery-backed RAM tells the second start from the first. */
#ifndef RESET_H
#define RESET_H

#include "guest.h"

#define CMOS_MARK 0x70
#define MARK 0xA5

static inline void set_mark(uint8_t value) {
    outb(0x70, CMOS_MARK);
    outb(0x71, value);
}

static inline uint8_t get_mark(void) {
    outb(0x70, CMOS_MARK);
    return inb(0x71);
}

/* Returns at the first start, when the machine has to be reset; the second start ends here. */
static inline void first_start(void) {
    if (get_mark() == MARK) {
        set_mark(0);
        check("the machine starts again, and its battery-backed RAM is kept", true);
        finish();
    }
    set_mark(MARK);
    check("the first start", true);
    drain_serial();
}

static inline void still_running(void) {
    delay_us(1000);
    set_mark(0);
    check("the machine has been reset", false);
}

#endif
