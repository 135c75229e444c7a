/* Reset by port 0x92, bit 0 (system control port A). */
#include "reset.h"

void guest_main(void) {
    first_start();
    outb(0x92, inb(0x92) & 0xFE);
    outb(0x92, inb(0x92) | 1);
    still_running();
}
