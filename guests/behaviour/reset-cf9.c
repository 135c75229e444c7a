/* Reset by the reset control register, port 0xCF9 (PIIX3 data sheet, 2.4.1). */
#include "guest.h"

void guest_main(void) {
    check("alive before the reset", true);
    drain_serial();
    outb(0xCF9, 0x02);
    outb(0xCF9, 0x06);
    delay_us(1000);
    check("the machine has been reset", false);
}
