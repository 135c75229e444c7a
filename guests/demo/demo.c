/*
 * The first thing a newcomer sees: two CPUs, and one of each kind of interrupt, told step by step on the serial port.
 * CPU 0 does the talking; CPU 1 sleeps until something is sent to it. Ends by switching the machine off.
 */
#include "guest.h"

enum {
    PIT_VECTOR = 0x30,      /* I/O APIC pin 2 */
    KEYBOARD_VECTOR = 0x31, /* pin 1 */
    SERIAL_VECTOR = 0x34,   /* pin 4 */
    LOW_VECTOR = 0x50,
    IPI_VECTOR = 0x60,
    TIMER_VECTOR = 0xB0,    /* local APIC timer */
    HIGH_VECTOR = 0xE0,
    SYSCALL_VECTOR = 0x80
};

static void section(const char *title) { printf("\n%s\n", title); }
static void show(const char *what, bool ok) { printf("  %s %s\n", ok ? "ok" : "NO", what), checks_failed += !ok; }

/* ---- timers ----------------------------------------------------------------------------------------------------- */

static volatile unsigned ticks_of_cpu[MAX_CPUS], pit_ticks;

static void timer_tick(struct trap *trap) {
    (void)trap;
    ticks_of_cpu[cpu_index()]++;
    lapic_eoi();
}

static void pit_tick(struct trap *trap) {
    (void)trap;
    pit_ticks++;
    lapic_eoi();
}

static void take_five_ticks(void) {
    volatile unsigned *ticks = &ticks_of_cpu[cpu_index()];
    lapic_write(LAPIC_TIMER_DIVIDE, 0xB); /* divide by 1 */
    lapic_write(LAPIC_LVT_TIMER, LVT_PERIODIC | TIMER_VECTOR);
    lapic_write(LAPIC_TIMER_INITIAL, 50000);
    while (*ticks < 5) sti_hlt_cli();
    lapic_write(LAPIC_LVT_TIMER, LVT_MASKED);
}

static void timers(void) {
    section("Timers: each CPU sleeps (HLT) until its own timer wakes it");
    on_vector(TIMER_VECTOR, timer_tick);
    on_vector(PIT_VECTOR, pit_tick);
    run_on(1, take_five_ticks);
    take_five_ticks();
    wait_for_cpu(1);
    show("local APIC timer, periodic: five ticks on each CPU", ticks_of_cpu[0] >= 5 && ticks_of_cpu[1] >= 5);
    ioapic_route(2, PIT_VECTOR, 0);
    pit_start(0, 2, 500);
    while (pit_ticks < 5) sti_hlt_cli();
    ioapic_route(2, RTE_MASKED, 0);
    show("8254 channel 0 through I/O APIC pin 2: five ticks, one every 419 us", pit_ticks >= 5);
}

/* ---- devices ---------------------------------------------------------------------------------------------------- */

static volatile uint8_t key;

static void keyboard(struct trap *trap) {
    (void)trap;
    key = inb(0x60);
    lapic_eoi();
}

static void controller_command(uint8_t command) {
    wait_until(!(inb(0x64) & 2));
    outb(0x64, command);
    wait_until(!(inb(0x64) & 2));
}

static void press_a_key(void) {
    section("Keyboard: the i8042 is told to pretend that key A was pressed (command D2)");
    while (inb(0x64) & 1) inb(0x60);
    on_vector(KEYBOARD_VECTOR, keyboard);
    ioapic_route(1, KEYBOARD_VECTOR, 0);
    controller_command(0x60);
    outb(0x60, 0x61); /* command byte: translate, mouse off, interrupt 1 on */
    controller_command(0xD2);
    outb(0x60, 0x1E);
    sti();
    wait_until(key);
    cli();
    ioapic_route(1, RTE_MASKED, 0);
    printf("  interrupt 1 brought scan code 0x%02x\n", key);
    show("one key, one interrupt", key == 0x1E && taken[KEYBOARD_VECTOR] == 1);
}

static const char *volatile text;
static const char message[] = "  (this line was sent by interrupts: the UART asks for each byte)\r\n";

static void transmitter_empty(struct trap *trap) {
    (void)trap;
    if ((inb(0x3FA) & 0x0F) == 0x02) { /* cause: transmitter holding register empty */
        if (*text) outb(0x3F8, (uint8_t)*text++);
        else outb(0x3F9, 0);
    }
    lapic_eoi();
}

static void serial(void) {
    section("Serial port: 16550A without FIFO, interrupt 4");
    drain_serial();
    outb(0x3FA, 0);
    text = message;
    on_vector(SERIAL_VECTOR, transmitter_empty);
    ioapic_route(4, SERIAL_VECTOR, 0);
    sti();
    outb(0x3F9, 2);
    wait_until(!*text && !(inb(0x3F9) & 2));
    cli();
    ioapic_route(4, RTE_MASKED, 0);
    serial_setup();
    show("one interrupt for each byte, and one to say that it is done", taken[SERIAL_VECTOR] >= sizeof message);
}

/* ---- between processors ----------------------------------------------------------------------------------------- */

static volatile unsigned ipis_of_cpu[MAX_CPUS];

static void ipi(struct trap *trap) {
    (void)trap;
    ipis_of_cpu[cpu_index()]++;
    lapic_eoi();
}

static void ipis(void) {
    section("Interrupts between processors (IPI)");
    on_vector(IPI_VECTOR, ipi);
    sti();
    send_ipi(1, ICR_ASSERT | DELIVER_FIXED | IPI_VECTOR);
    show("CPU 0 to CPU 1, fixed delivery", wait_until(ipis_of_cpu[1] == 1));
    send_ipi(0, ICR_ALL | ICR_ASSERT | IPI_VECTOR);
    show("broadcast: both CPUs, the sender too", wait_until(ipis_of_cpu[0] == 1 && ipis_of_cpu[1] == 2));
    send_ipi(0, ICR_SELF | ICR_ASSERT | IPI_VECTOR);
    show("CPU 0 to itself", wait_until(ipis_of_cpu[0] == 2) && ipis_of_cpu[1] == 2);
    cli();
}

static volatile bool low_running, high_saw_low;

static void high(struct trap *trap) {
    (void)trap;
    high_saw_low = low_running;
    lapic_eoi();
}

static void low(struct trap *trap) {
    (void)trap;
    low_running = true;
    send_ipi(0, ICR_SELF | ICR_ASSERT | LOW_VECTOR); /* same priority: has to wait for the EOI */
    send_ipi(0, ICR_SELF | ICR_ASSERT | HIGH_VECTOR);
    unsigned before = taken[LOW_VECTOR];
    sti();
    wait_until(taken[HIGH_VECTOR]);
    cli();
    show("vector E0 preempted the handler of vector 50", high_saw_low);
    show("a second vector 50 had to wait", taken[LOW_VECTOR] == before && lapic_bit(LAPIC_IRR, LOW_VECTOR));
    low_running = false;
    on_vector(LOW_VECTOR, ipi);
    lapic_eoi();
}

static void priorities(void) {
    section("Priorities: the vector's upper four bits decide who may interrupt whom");
    on_vector(LOW_VECTOR, low);
    on_vector(HIGH_VECTOR, high);
    sti();
    send_ipi(0, ICR_SELF | ICR_ASSERT | LOW_VECTOR);
    show("and came after it", wait_until(taken[LOW_VECTOR] == 2));
    cli();
}

static volatile bool nmi_with_interrupts_off;

static void nmi(struct trap *trap) { nmi_with_interrupts_off = !(trap->rflags & FLAG_IF); }

/* A real IRQ 0 has its in-service bit set and wants an EOI; a spurious IRQ 7 has not and must not get one. */
static void pic_interrupt(struct trap *trap) {
    (void)trap;
    if (pic_isr() & 1) pic_eoi(0);
}

/*
 * A spurious interrupt: the timer's line goes low again before the CPU has acknowledged it. The 8259A latches no request
 * whose line is low at the acknowledge, and answers with IRQ 7 (8259A data sheet, "Edge and level triggered modes").
 */
static void special_cases(void) {
    section("The unmaskable and the spurious");
    on_vector(NMI, nmi);
    send_ipi(1, ICR_ASSERT | DELIVER_NMI);
    show("NMI reached CPU 1", wait_until(taken[NMI] == 1));
    send_ipi(0, ICR_ASSERT | DELIVER_NMI);
    show("NMI reached CPU 0 although its interrupts are off", wait_until(taken[NMI] == 2) && nmi_with_interrupts_off);

    on_vector(PIC_BASE + 0, pic_interrupt);
    on_vector(PIC_BASE + 7, pic_interrupt);
    lapic_write(LAPIC_LVT_LINT0, DELIVER_EXTINT);
    pit_start(0, 0, 50); /* one shot: output high after 42 us */
    pic_mask(0xFFFE);
    wait_until(pic_irr() & 1);
    pit_start(0, 0, 0xFFFF); /* output low again: the request is gone before the CPU has answered */
    sti_nop_cli();
    pic_mask(0xFFFF);
    lapic_write(LAPIC_LVT_LINT0, LVT_MASKED | DELIVER_EXTINT);
    printf("  a timer request withdrawn before its acknowledge came as %s\n",
           taken[PIC_BASE + 7] ? "IRQ 7: spurious" : taken[PIC_BASE] ? "IRQ 0" : "nothing at all");
    show("and not twice", taken[PIC_BASE] + taken[PIC_BASE + 7] <= 1);
}

/* ---- ring 3 and paging ------------------------------------------------------------------------------------------ */

static volatile unsigned user_calls, answer;

static void system_call(struct trap *trap) {
    user_calls += (trap->cs & 3) == 3;
    trap->rax = trap->rdi * 2;
}

static void user_program(void) {
    for (unsigned i = 1; i <= 3; i++) {
        uint64_t result;
        __asm__ volatile("int $0x80" : "=a"(result) : "D"(i * 7) : "memory");
        answer = (unsigned)result;
    }
}

static void ring3(void) {
    section("Ring 3: a user program calls the kernel by INT 80");
    on_vector(SYSCALL_VECTOR, system_call);
    set_gate(SYSCALL_VECTOR, GATE_INTERRUPT | GATE_DPL3, 0);
    struct caught end = catch_user(user_program, FLAG_IF);
    printf("  three calls, the last said 21 * 2 = %u\n", answer);
    show("in ring 3, into ring 0 and back", end.vector == -1 && user_calls == 3 && answer == 42);
}

extern uint64_t page_directory_low[512];
static uint64_t fault_address, fault_code;

/* The handler puts the page back into the map; the instruction that missed it then runs again. */
static void page_fault(struct trap *trap) {
    fault_address = read_cr2();
    fault_code = trap->error;
    uint64_t page = fault_address >> 21;
    page_directory_low[page] = page << 21 | 0x87;
    invlpg((void *)fault_address);
}

static void paging(void) {
    section("Page fault: handled, and the instruction resumed");
    volatile uint32_t *gone = (uint32_t *)0x01E00010;
    *gone = 2026;
    page_directory_low[(uintptr_t)gone >> 21] = 0;
    invlpg(gone);
    on_vector(PF, page_fault);
    uint32_t value = *gone;
    on_vector(PF, NULL);
    printf("  address 0x%lx, error code %lu\n", fault_address, fault_code);
    show("read of an absent page went on after the handler had mapped it", value == 2026 && taken[PF] == 1);
}

void guest_main(void) {
    printf("Hello from a bare-metal guest: 64-bit mode, no firmware, no operating system.\n");
    if (!start_cpu(1)) die("this demo wants two CPUs, and the second one did not start");
    printf("CPU 1 has been started by INIT-SIPI-SIPI; two CPUs are up.\n");
    timers();
    press_a_key();
    serial();
    ipis();
    priorities();
    special_cases();
    ring3();
    paging();
    printf("\n%s\n", checks_failed ? "Something above is not as it should be (NO)." : "All as it should be. Power off.");
    if (checks_failed) finish();
    power_off();
}
