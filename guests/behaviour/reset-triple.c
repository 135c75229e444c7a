/* Reset by a triple fault: an exception with no table to deliver it by. */
#include "guest.h"

void guest_main(void) {
    check("alive before the reset", true);
    drain_serial();
    load_idt(0);
    __asm__ volatile("ud2");
    delay_us(1000);
    check("the machine has been reset", false);
}
