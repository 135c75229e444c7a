/* Time that does not depend on the processor's speed: the ACPI timer. */
#include "guest.h"

#define PM_TIMER_PORT 0x608
#define PM_TIMER_MASK 0xFFFFFF

uint32_t pm_timer(void) { return inl(PM_TIMER_PORT) & PM_TIMER_MASK; }

static uint32_t ticks_of(unsigned us) { return (uint32_t)((uint64_t)us * PM_TIMER_HZ / 1000000) + 1; }

void delay_us(unsigned us) {
    uint32_t start = pm_timer(), ticks = ticks_of(us);
    while (((pm_timer() - start) & PM_TIMER_MASK) < ticks) pause();
}

struct deadline start_deadline(unsigned us) { return (struct deadline){ pm_timer(), ticks_of(us), 0 }; }

/* The port is read at every 64th call only, which keeps the spinning cheap. */
bool deadline_over(struct deadline *d) {
    if (++d->polls % 64) return false;
    uint32_t now = pm_timer(), passed = (now - d->last) & PM_TIMER_MASK;
    if (passed >= d->ticks_left) return true;
    d->ticks_left -= passed;
    d->last = now;
    return false;
}
