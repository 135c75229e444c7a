/* Entry of every CPU into C, and the start of the application processors (SDM vol 3, 9.4: INIT-SIPI-SIPI). */
#include "guest.h"

#define TRAMPOLINE 0x8000
#define AP_STACK_BYTES 8192

extern const uint8_t ap_trampoline[], ap_trampoline_end[];
extern uint64_t multiboot_info;
extern volatile uint64_t ap_stack, ap_index;
void cpu_main(unsigned index);
void cpu_tables(unsigned index);

volatile bool cpu_online[MAX_CPUS];
static void (*volatile work_of[MAX_CPUS])(void);
static uint8_t ap_stacks[MAX_CPUS][AP_STACK_BYTES] __attribute__((aligned(16)));

/* The task register tells the CPUs apart at any privilege level and in any APIC mode. */
unsigned cpu_index(void) {
    uint32_t selector;
    __asm__("str %0" : "=r"(selector));
    return ((selector & 0xFFFF) - FIRST_TSS) / 16;
}

static void wake(struct trap *trap) {
    (void)trap;
    lapic_eoi();
}

void cpu_idle(void) {
    unsigned me = cpu_index();
    for (;;) {
        cli();
        if (work_of[me]) {
            work_of[me]();
            cli();
            work_of[me] = NULL;
        } else {
            sti_hlt_cli();
        }
    }
}

/* Called by entry.S on the boot processor with index 0, on the others with the index that start_cpu gave them. */
void cpu_main(unsigned index) {
    cpu_tables(index);
    if (index == 0) {
        serial_setup();
        read_command_line(multiboot_info);
        pic_setup();
        ioapic_mask_all();
        lapic_setup();
        on_vector(WAKE_VECTOR, wake);
        cpu_online[0] = true;
        guest_main();
        finish();
    }
    lapic_setup();
    cpu_online[index] = true;
    cpu_idle();
}

bool start_cpu(unsigned index) {
    volatile uint8_t *to = (volatile uint8_t *)TRAMPOLINE;
    for (const uint8_t *from = ap_trampoline; from < ap_trampoline_end; from++) *to++ = *from;
    ap_stack = (uint64_t)ap_stacks[index] + AP_STACK_BYTES;
    ap_index = index;
    cpu_online[index] = false;
    work_of[index] = NULL;
    send_ipi(index, DELIVER_INIT | ICR_ASSERT | ICR_LEVEL);
    delay_us(200); /* the manual's example waits 10 ms, for boards of 1997 */
    send_ipi(index, DELIVER_SIPI | ICR_ASSERT | TRAMPOLINE >> 12);
    delay_us(200);
    if (!cpu_online[index]) send_ipi(index, DELIVER_SIPI | ICR_ASSERT | TRAMPOLINE >> 12);
    return wait_until(cpu_online[index]);
}

bool start_cpus(unsigned n) {
    for (unsigned i = 1; i < n; i++)
        if (!start_cpu(i)) return check("every CPU answers INIT-SIPI-SIPI", false);
    return true;
}

void run_on(unsigned cpu, void (*work)(void)) {
    work_of[cpu] = work;
    send_ipi(cpu, DELIVER_FIXED | ICR_ASSERT | WAKE_VECTOR);
}

bool wait_for_cpu(unsigned cpu) { return wait_until(work_of[cpu] == NULL); }
