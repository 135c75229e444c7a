/* Reset by the keyboard controller, command FE: a pulse on output port bit 0. */
#include "reset.h"

void guest_main(void) {
    first_start();
    while (inb(0x64) & 2) pause();
    outb(0x64, 0xFE);
    still_running();
}
