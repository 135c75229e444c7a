/* The local APIC in xAPIC mode (Intel SDM vol 3, chapter 11). Requests are made by self-IPI, which needs no device. */
#include "guest.h"

#define LOW 0x51
#define SAME_CLASS 0x5A
#define HIGH 0x91
#define TIMER 0xB3
#define ERROR_VECTOR 0xD7
#define MSR_TSC_DEADLINE 0x6E0

static unsigned order[16];
static volatile unsigned count;
static bool send_eoi = true;

static void note(struct trap *trap) {
    if (count < 16) order[count] = (unsigned)trap->vector;
    count++;
    if (send_eoi) lapic_eoi();
}

static void ask(unsigned vector) { send_ipi(0, ICR_SELF | ICR_ASSERT | vector); }

static void let_in(void) {
    for (unsigned i = 0; i < 4; i++) sti_nop_cli();
}

static void setup(void) {
    for (unsigned i = 0; i < 8; i++) lapic_eoi();
    lapic_write(LAPIC_TPR, 0);
    let_in();
    count = 0;
    send_eoi = true;
}

static bool registers_zero(unsigned reg) {
    for (unsigned i = 0; i < 8; i++)
        if (lapic_read(reg + i * 16)) return false;
    return true;
}

static void registers(void) {
    struct cpuid features = cpuid(1, 0);
    check("CPUID says that there is an APIC", features.edx & 1 << 9);
    check_equal("the ID is the one that CPUID gives", lapic_read(LAPIC_ID) >> 24, features.ebx >> 24);
    uint32_t version = lapic_read(LAPIC_VERSION);
    check_equal("version: an integrated APIC (0x10-0x15)", version & 0xF0, 0x10);
    check("version: at least 5 LVT entries beyond the first", (version >> 16 & 0xFF) >= 5);
    check("IA32_APIC_BASE: enabled, boot processor, at 0xFEE00000", (rdmsr(0x1B) & 0xFFFFF900) == 0xFEE00900);
    lapic_write(LAPIC_TPR, 0x123);
    check_equal("TPR keeps 8 bits", lapic_read(LAPIC_TPR), 0x23);
    check_equal("CR8 is the upper half of TPR", read_cr8(), 2);
    write_cr8(5);
    check_equal("writing CR8 clears the lower half of TPR", lapic_read(LAPIC_TPR), 0x50);
    lapic_write(LAPIC_TPR, 0);
    lapic_write(LAPIC_LDR, 0xA5FFFFFF);
    check_equal("LDR keeps its top byte", lapic_read(LAPIC_LDR), 0xA5000000);
    lapic_write(LAPIC_DFR, 0);
    check_equal("DFR keeps its top 4 bits, the rest reads as ones", lapic_read(LAPIC_DFR), 0x0FFFFFFF);
    lapic_write(LAPIC_DFR, 0xFFFFFFFF);
    lapic_write(LAPIC_TIMER_DIVIDE, 0xFFFFFFFF);
    check_equal("divide configuration keeps bits 0, 1 and 3", lapic_read(LAPIC_TIMER_DIVIDE), 0xB);
    lapic_write(LAPIC_LVT_ERROR, 0xFFFFFFFF);
    check_equal("LVT error: vector and mask only", lapic_read(LAPIC_LVT_ERROR), 0x100FF);
    lapic_write(LAPIC_LVT_LINT0, LVT_MASKED | DELIVER_EXTINT);
    lapic_write(LAPIC_LVT_ERROR, LVT_MASKED);
}

static void priorities(void) {
    setup();
    ask(LOW);
    check("a request sets its IRR bit", lapic_bit(LAPIC_IRR, LOW));
    check("and nothing else while IF is 0", registers_zero(LAPIC_ISR) && count == 0);
    send_eoi = false;
    let_in();
    check("acceptance moves it from IRR to ISR", !lapic_bit(LAPIC_IRR, LOW) && lapic_bit(LAPIC_ISR, LOW));
    check_equal("PPR is the class of the vector in service", lapic_read(LAPIC_PPR), LOW & 0xF0);
    check("TMR: edge", !lapic_bit(LAPIC_TMR, LOW));
    ask(SAME_CLASS);
    let_in();
    check("a higher vector of the same class waits", count == 1 && lapic_bit(LAPIC_IRR, SAME_CLASS));
    ask(HIGH);
    let_in();
    check("a higher class comes through", count == 2 && order[1] == HIGH);
    check_equal("PPR follows", lapic_read(LAPIC_PPR), HIGH & 0xF0);
    lapic_eoi();
    check("EOI clears the highest ISR bit", !lapic_bit(LAPIC_ISR, HIGH) && lapic_bit(LAPIC_ISR, LOW));
    send_eoi = true;
    lapic_eoi();
    let_in();
    check("after the last EOI the waiting one comes", count == 3 && order[2] == SAME_CLASS && registers_zero(LAPIC_ISR));
    check_equal("PPR is 0 with nothing in service", lapic_read(LAPIC_PPR), 0);

    setup();
    ask(LOW);
    ask(HIGH);
    ask(SAME_CLASS);
    let_in();
    check("pending requests come highest vector first", order[0] == HIGH && order[1] == SAME_CLASS && order[2] == LOW);

    setup();
    ask(LOW);
    ask(LOW);
    let_in();
    check("two requests of one vector before acceptance are one interrupt", count == 1);

    setup();
    send_eoi = false;
    ask(LOW);
    let_in();
    ask(LOW);
    ask(LOW);
    check("one more may wait in IRR while the first is in service",
          lapic_bit(LAPIC_IRR, LOW) && lapic_bit(LAPIC_ISR, LOW));
    lapic_eoi();
    let_in();
    lapic_eoi();
    let_in();
    check("which makes two in all", count == 2);
}

static void task_priority(void) {
    setup();
    lapic_write(LAPIC_TPR, 0x50);
    ask(LOW);
    let_in();
    check("TPR: its own class is held back", count == 0 && lapic_bit(LAPIC_IRR, LOW));
    check_equal("PPR is TPR when nothing of a higher class is in service", lapic_read(LAPIC_PPR), 0x50);
    ask(HIGH);
    let_in();
    check("TPR: a higher class is not", count == 1);
    lapic_write(LAPIC_TPR, 0x4F);
    let_in();
    check("TPR: the lower half holds nothing back", count == 2);
    write_cr8(15);
    ask(HIGH);
    let_in();
    check("CR8 = 15 holds every vector back", count == 2);
    __asm__ volatile("sti" ::: "memory");
    write_cr8(0);
    __asm__ volatile("nop; cli" ::: "memory");
    check("CR8 = 0 lets it in at once", count == 3);
    lapic_write(LAPIC_TPR, 0);

    setup();
    send_eoi = false;
    ask(LOW);
    let_in();
    lapic_write(LAPIC_TPR, 0x5C);
    check("PPR: equal classes: that class (its lower half is the model's choice)",
          lapic_read(LAPIC_PPR) == 0x5C || lapic_read(LAPIC_PPR) == 0x50);
    lapic_write(LAPIC_TPR, 0x4C);
    check_equal("PPR: ISR's class above TPR's: ISR's class, lower half 0", lapic_read(LAPIC_PPR), 0x50);
    setup();
}

static void timer(void) {
    setup();
    lapic_write(LAPIC_TIMER_DIVIDE, 0xB);
    lapic_write(LAPIC_LVT_TIMER, TIMER);
    lapic_write(LAPIC_TIMER_INITIAL, 20000);
    check_equal("the initial count reads back", lapic_read(LAPIC_TIMER_INITIAL), 20000);
    uint32_t current = lapic_read(LAPIC_TIMER_CURRENT);
    sti();
    check("one shot: comes", current <= 20000 && wait_until(count == 1));
    check_equal("one shot: the current count is 0 afterwards", lapic_read(LAPIC_TIMER_CURRENT), 0);
    delay_us(100);
    check("one shot: comes once", count == 1);
    cli();

    lapic_write(LAPIC_LVT_TIMER, LVT_PERIODIC | TIMER);
    lapic_write(LAPIC_TIMER_INITIAL, 20000);
    sti();
    check("periodic: comes again and again", wait_until(count >= 5));
    lapic_write(LAPIC_TIMER_INITIAL, 0);
    cli();
    let_in();
    unsigned before = count;
    sti();
    delay_us(200);
    cli();
    check("an initial count of 0 stops it", count == before && lapic_read(LAPIC_TIMER_CURRENT) == 0);

    setup();
    lapic_write(LAPIC_LVT_TIMER, LVT_MASKED | TIMER);
    lapic_write(LAPIC_TIMER_INITIAL, 1000);
    delay_us(50);
    let_in();
    check("masked: counts down without a request", count == 0 && lapic_read(LAPIC_TIMER_CURRENT) == 0);
    lapic_write(LAPIC_LVT_TIMER, TIMER);
    let_in();
    check("a period that ended while masked is not made up for", count == 0);

    lapic_write(LAPIC_LVT_TIMER, LVT_MASKED | TIMER);
    uint32_t slow, fast;
    lapic_write(LAPIC_TIMER_DIVIDE, 0xA); /* by 128 */
    lapic_write(LAPIC_TIMER_INITIAL, 0xFFFFFFFF);
    delay_us(500);
    slow = 0xFFFFFFFF - lapic_read(LAPIC_TIMER_CURRENT);
    lapic_write(LAPIC_TIMER_DIVIDE, 0xB); /* by 1 */
    lapic_write(LAPIC_TIMER_INITIAL, 0xFFFFFFFF);
    delay_us(500);
    fast = 0xFFFFFFFF - lapic_read(LAPIC_TIMER_CURRENT);
    check("divide by 128 is slower than divide by 1 by far", slow > 0 && fast / slow >= 16);
    lapic_write(LAPIC_TIMER_INITIAL, 0);
}

static void tsc_deadline(void) {
    if (!(cpuid(1, 0).ecx & 1 << 24)) {
        skip("TSC deadline: CPUID says that there is none");
        return;
    }
    setup();
    lapic_write(LAPIC_LVT_TIMER, LVT_TSC_DEADLINE | TIMER);
    uint64_t deadline = rdtsc() + 100000;
    wrmsr(MSR_TSC_DEADLINE, deadline);
    check("TSC deadline: the MSR reads back while armed", rdmsr(MSR_TSC_DEADLINE) == deadline);
    check("TSC deadline: the current count reads 0", lapic_read(LAPIC_TIMER_CURRENT) == 0);
    sti();
    bool came = wait_until(count == 1);
    check("TSC deadline: comes, and not before its time", came && rdtsc() >= deadline);
    check("TSC deadline: the MSR is 0 afterwards", rdmsr(MSR_TSC_DEADLINE) == 0);
    cli();
    wrmsr(MSR_TSC_DEADLINE, 1);
    let_in();
    check("TSC deadline: one in the past comes at once", count == 2);
    wrmsr(MSR_TSC_DEADLINE, rdtsc() + 100000);
    wrmsr(MSR_TSC_DEADLINE, 0);
    delay_us(300);
    let_in();
    check("TSC deadline: 0 disarms", count == 2);
    lapic_write(LAPIC_TIMER_INITIAL, 1000);
    check("TSC deadline: writes of the initial count are ignored", lapic_read(LAPIC_TIMER_CURRENT) == 0);
    lapic_write(LAPIC_LVT_TIMER, LVT_MASKED);
}

static uint32_t error_status(void) {
    lapic_write(LAPIC_ESR, 0);
    return lapic_read(LAPIC_ESR);
}

static void errors(void) {
    setup();
    error_status();
    lapic_write(LAPIC_LVT_ERROR, ERROR_VECTOR);
    lapic_write(LAPIC_LVT_TIMER, 5); /* vectors 0 to 15 are illegal */
    lapic_write(LAPIC_LVT_TIMER, LVT_MASKED);
    error_status();
    let_in();
    count = 0;
    lapic_write(LAPIC_ICR, ICR_SELF | ICR_ASSERT | 5);
    let_in();
    check("sending an illegal vector raises the error interrupt", count == 1 && order[0] == ERROR_VECTOR);
    check("ESR: send illegal vector", error_status() & 1 << 5);
    check_equal("ESR: cleared by the write that latches it", error_status(), 0);
    lapic_write(LAPIC_LVT_ERROR, LVT_MASKED | ERROR_VECTOR);
    let_in();
}

static void software_disable(void) {
    setup();
    lapic_write(LAPIC_LVT_TIMER, TIMER);
    ask(LOW);
    lapic_write(LAPIC_SVR, SPURIOUS_VECTOR);
    check("software disable sets every LVT mask", lapic_read(LAPIC_LVT_TIMER) & LVT_MASKED);
    lapic_write(LAPIC_LVT_TIMER, TIMER);
    check("an LVT mask cannot be cleared while software disabled", lapic_read(LAPIC_LVT_TIMER) & LVT_MASKED);
    check("software disable keeps what is in IRR", lapic_bit(LAPIC_IRR, LOW));
    let_in();
    check("and the processor can still take it", count == 1);
    ask(LOW);
    let_in();
    check("a fixed interrupt is not accepted while disabled", count == 1 && !lapic_bit(LAPIC_IRR, LOW));
    lapic_write(LAPIC_SVR, 0x100 | SPURIOUS_VECTOR);
    check("the LVT masks stay set after enabling again", lapic_read(LAPIC_LVT_TIMER) & LVT_MASKED);
    let_in();
    check("what was refused while disabled does not come later", count == 1);
}

static void lint(void) {
    if (!have_test_device()) {
        skip("LINT0: no test device");
        return;
    }
    setup();
    on_vector(PIC_BASE + 5, note);
    send_eoi = false;
    lapic_write(LAPIC_LVT_LINT0, DELIVER_EXTINT);
    pic_mask((uint16_t)~(1 << 5));
    test_line(5, true);
    let_in();
    check("LINT0 as ExtINT: the 8259's vector", count == 1 && order[0] == PIC_BASE + 5);
    check("ExtINT leaves ISR alone", registers_zero(LAPIC_ISR));
    pic_eoi(5);
    test_line(5, false);
    lapic_write(LAPIC_LVT_LINT0, LVT_MASKED | DELIVER_EXTINT);
    test_line(5, true);
    let_in();
    check("LINT0 masked: nothing", count == 1);
    test_line(5, false);
    pic_mask(0xFFFF);
}

void guest_main(void) {
    on_vector(5, note);
    on_vector(LOW, note);
    on_vector(SAME_CLASS, note);
    on_vector(HIGH, note);
    on_vector(TIMER, note);
    on_vector(ERROR_VECTOR, note);
    registers();
    priorities();
    task_priority();
    timer();
    tsc_deadline();
    errors();
    software_disable();
    lint();
}
