/* Reset by the keyboard controller, command FE: a pulse on output port bit 0. */
#include "guest.h"

void guest_main(void) {
    check("alive before the reset", true);
    drain_serial();
    while (inb(0x64) & 2) pause();
    outb(0x64, 0xFE);
    delay_us(1000);
    check("the machine has been reset", false);
}
