/* The ACPI timer and soft off (ACPI specification 4.8.3; PIIX4 data sheet, 7.2). Ends by switching the machine off. */
#include "guest.h"

#define PM1_STATUS 0x600
#define PM1_ENABLE 0x602
#define PM1_CONTROL 0x604

void guest_main(void) {
    bool monotone = true, moved = false, within = true;
    uint32_t last = pm_timer();
    for (unsigned i = 0; i < 1000; i++) {
        uint32_t now = pm_timer(), step = (now - last) & 0xFFFFFF;
        monotone = monotone && step < 0x800000;
        moved = moved || step > 0;
        within = within && inl(0x608) <= 0xFFFFFF;
        last = now;
    }
    check("the PM timer never goes back", monotone);
    check("and it moves", moved);
    check("it has 24 bits", within);

    pit_start(0, 0, 11932); /* 10 ms */
    pic_setup(); /* forgets what the timer has asked for before */
    uint32_t start = pm_timer();
    bool over = wait_until(pic_irr() & 1);
    uint32_t ticks = (pm_timer() - start) & 0xFFFFFF;
    check("10 ms of the 8254 are at least 35000 of its ticks (3.579545 MHz)", over && ticks >= 35000);

    outw(PM1_ENABLE, 0x0100);
    check_equal("PM1 enable: the power button's bit reads back", inw(PM1_ENABLE) & 0x0100, 0x0100);
    outw(PM1_ENABLE, 0);
    outw(PM1_STATUS, 0xFFFF);
    check_equal("PM1 status: written ones clear it", inw(PM1_STATUS) & 0x0100, 0);
    check_equal("PM1 control: sleep enable reads 0", inw(PM1_CONTROL) & 0x2000, 0);
    if (checks_failed) finish();
    printf("END %u passed, %u failed\n", checks_passed, checks_failed);
    power_off();
}
