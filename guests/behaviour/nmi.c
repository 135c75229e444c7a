/*
 * The non-maskable interrupt (Intel SDM vol 3, 6.7: blocked from its delivery to the next IRET, one kept meanwhile).
 * It is sent by the ICR to the own CPU, and by the 8254 through an I/O APIC pin in delivery mode NMI.
 */
#include "guest.h"

#define HELPER_VECTOR 0x61

static volatile unsigned count, depth, deepest, handler_flags_if, frame_if;
static volatile uint64_t interrupted_rip, interrupted_cs, handler_stack;
static void (*volatile in_first)(void);

static void send_nmi(void) { send_ipi(0, ICR_ASSERT | DELIVER_NMI); }

static void on_nmi(struct trap *trap) {
    count++;
    depth++;
    if (depth > deepest) deepest = depth;
    interrupted_rip = trap->rip;
    interrupted_cs = trap->cs;
    handler_stack = (uint64_t)trap;
    handler_flags_if = (read_flags() & FLAG_IF) != 0;
    frame_if = (trap->rflags & FLAG_IF) != 0;
    if (count == 1 && in_first) in_first();
    depth--;
}

static void setup(void (*first)(void)) {
    count = depth = deepest = 0;
    in_first = first;
}

static void send_three(void) {
    for (unsigned i = 0; i < 3; i++) send_nmi();
    delay_us(50);
}

static volatile unsigned count_after_iret;
static void on_helper(struct trap *trap) { (void)trap; }
static void send_then_iret(void) {
    send_nmi();
    delay_us(50);
    __asm__ volatile("int $0x61" ::: "memory");
    for (unsigned i = 0; i < 4; i++) __asm__ volatile("nop");
    count_after_iret = count;
}

static void send_with_interrupts_on(void) {
    sti();
    send_nmi();
    delay_us(50);
    cli();
}

static void blocking(void) {
    setup(NULL);
    send_nmi();
    check("NMI comes with IF clear", wait_until(count == 1) && !frame_if);
    check("its gate is an interrupt gate: IF is clear in the handler", !handler_flags_if);
    setup(NULL);
    sti();
    send_nmi();
    wait_until(count == 1);
    cli();
    check("NMI comes with IF set, which is saved", frame_if);
    setup(send_nmi);
    send_nmi();
    check("one sent in the handler comes after it", wait_until(count == 2) && deepest == 1);
    setup(send_three);
    send_nmi();
    wait_until(count == 2);
    delay_us(50);
    check("of three sent in the handler one is kept", count == 2 && deepest == 1);
    setup(send_with_interrupts_on);
    send_nmi();
    check("STI in the handler does not open the way", wait_until(count == 2) && deepest == 1);
    setup(send_then_iret);
    send_nmi();
    wait_until(count == 2);
    check("an IRET inside the handler does: the next NMI is nested", deepest == 2 && count_after_iret == 2);
}

static void stack(void) {
    set_gate(NMI, GATE_INTERRUPT, 2);
    setup(NULL);
    send_nmi();
    wait_until(count == 1);
    check("NMI on its IST stack", handler_stack < tss[0].ist[1] && handler_stack > tss[0].ist[1] - 8192);
    set_gate(NMI, GATE_INTERRUPT, 0);
}

/* The 8254's output rises once, after `count` ticks of 838 ns. */
static void nmi_by_timer(uint16_t ticks) {
    setup(NULL);
    pit_start(0, 0, ticks);
    ioapic_route(2, DELIVER_NMI, 0);
}

SNIPPET(sleep, "", "cli\nhlt");
extern const uint8_t sleep_after[];

static volatile bool user_stop;
static void user_loop(void) {
    while (!user_stop) pause();
}
static void stop_user(void) { user_stop = true; }

static void from_a_device(void) {
    nmi_by_timer(500);
    sleep();
    check("NMI ends HLT although IF is clear, RIP behind it", count == 1 && interrupted_rip == (uint64_t)sleep_after);
    nmi_by_timer(500);
    in_first = stop_user;
    struct caught c = catch_user(user_loop, 2);
    check("NMI interrupts ring 3", c.vector == -1 && count == 1 && interrupted_cs == USER_CODE);
    ioapic_route(2, RTE_MASKED, 0);

    setup(NULL);
    lapic_write(LAPIC_LVT_LINT0, DELIVER_NMI);
    pit_start(0, 0, 200);
    pic_mask(0xFFFE);
    check("LINT0 programmed as NMI: the 8259's request is one", wait_until(count >= 1));
    delay_us(50);
    check("LINT0 as NMI is edge sensitive: only one", count == 1);
    pic_mask(0xFFFF);
    lapic_write(LAPIC_LVT_LINT0, LVT_MASKED | DELIVER_EXTINT);
}

void guest_main(void) {
    on_vector(NMI, on_nmi);
    on_vector(HELPER_VECTOR, on_helper);
    blocking();
    stack();
    from_a_device();
}
