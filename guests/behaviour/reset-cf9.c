/* Reset by the reset control register, port 0xCF9 (PIIX3 data sheet, 2.4.1). */
#include "reset.h"

void guest_main(void) {
    first_start();
    outb(0xCF9, 0x02);
    outb(0xCF9, 0x06);
    still_running();
}
