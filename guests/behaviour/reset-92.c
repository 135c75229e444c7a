/* Reset by port 0x92, bit 0 (system control port A). */
#include "guest.h"

void guest_main(void) {
    check("alive before the reset", true);
    drain_serial();
    outb(0x92, inb(0x92) & 0xFE);
    outb(0x92, inb(0x92) | 1);
    delay_us(1000);
    check("the machine has been reset", false);
}
