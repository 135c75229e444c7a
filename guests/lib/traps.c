/* GDT and IDT contents, the one C entry of all vectors, and running code that may fault. */
#include "guest.h"

#define TRAP_STACK_BYTES 8192

extern const uint8_t vector_stubs[], guarded_return[];
void call_guarded(uint64_t *resume_rsp, void (*code)(void));
void call_user(uint64_t *resume_rsp, void (*code)(void), uint64_t user_rsp, uint64_t rflags, uint64_t cs, uint64_t ss);
void trap_dispatch(struct trap *trap);
void cpu_tables(unsigned index);

struct idt_gate idt[256] __attribute__((aligned(16)));
struct tss tss[MAX_CPUS] __attribute__((aligned(16)));
volatile unsigned taken[256];

static handler *handlers[256];
static uint8_t trap_stacks[MAX_CPUS][3][TRAP_STACK_BYTES] __attribute__((aligned(16)));
uint64_t user_stack[USER_STACK_WORDS] __attribute__((aligned(16)));

/* One per CPU: the code that catch() is running now. */
static struct guard {
    bool active;
    uint64_t resume_rsp;
    struct caught result;
} guards[MAX_CPUS];

void on_vector(unsigned vector, handler *h) { handlers[vector] = h; }

void set_gate_to(unsigned vector, const void *code, uint8_t type, unsigned ist) {
    uint64_t address = (uint64_t)code;
    idt[vector] = (struct idt_gate){ (uint16_t)address, KERNEL_CODE, (uint8_t)ist, type, (uint16_t)(address >> 16),
                                     (uint32_t)(address >> 32), 0 };
}

void set_gate(unsigned vector, uint8_t type, unsigned ist) {
    set_gate_to(vector, vector_stubs + vector * 16, type, ist);
}

void load_idt(uint16_t limit) {
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) pointer = { limit, (uint64_t)idt };
    __asm__ volatile("lidt %0" ::"m"(pointer));
}

static uint64_t trap_stack_top(unsigned cpu, unsigned n) {
    return (uint64_t)trap_stacks[cpu] + (n + 1) * TRAP_STACK_BYTES;
}

/* The task state segment of CPU `index` and the registers that point to the tables. IST1 is the double fault's stack. */
void cpu_tables(unsigned index) {
    struct tss *t = &tss[index];
    t->rsp[0] = trap_stack_top(index, 0);
    t->ist[0] = trap_stack_top(index, 1);
    t->ist[1] = trap_stack_top(index, 2);
    t->io_map = sizeof *t; /* beyond the limit: no port for ring 3 */
    uint64_t base = (uint64_t)t;
    uint64_t *slot = &gdt[FIRST_TSS / 8 + index * 2];
    slot[0] = (sizeof *t - 1) | (base & 0xFFFFFF) << 16 | 0x89ULL << 40 | (base >> 24 & 0xFF) << 56;
    slot[1] = base >> 32;
    __asm__ volatile("ltr %0" ::"r"((uint16_t)(FIRST_TSS + index * 16)));
    if (index == 0) {
        for (unsigned v = 0; v < 256; v++) set_gate(v, GATE_INTERRUPT, v == DF ? 1 : 0);
        set_gate(USER_EXIT_VECTOR, GATE_INTERRUPT | GATE_DPL3, 0);
    }
    load_idt(sizeof idt - 1);
}

void leave(struct trap *trap) {
    struct guard *g = &guards[cpu_index()];
    g->result = (struct caught){ (int)trap->vector, trap->error, trap->rip, trap->cs, trap->rflags, trap->rsp, trap->ss,
                                 read_cr2(), (uint64_t)trap };
    trap->rip = (uint64_t)guarded_return;
    trap->rsp = g->resume_rsp;
    trap->cs = KERNEL_CODE;
    trap->ss = KERNEL_DATA;
    trap->rflags = 2;
}

static void report_unexpected(struct trap *t) {
    die("unexpected vector %lu on CPU %u: error 0x%lx, RIP 0x%lx, CS 0x%lx, RFLAGS 0x%lx, RSP 0x%lx, CR2 0x%lx",
        t->vector, cpu_index(), t->error, t->rip, t->cs, t->rflags, t->rsp, read_cr2());
}

void trap_dispatch(struct trap *trap) {
    unsigned vector = (unsigned)trap->vector;
    __atomic_fetch_add(&taken[vector], 1, __ATOMIC_RELAXED);
    struct guard *g = &guards[cpu_index()];
    if (handlers[vector]) {
        handlers[vector](trap);
    } else if (vector == USER_EXIT_VECTOR && g->active) {
        leave(trap);
        g->result.vector = -1;
    } else if (vector < 32 && g->active) {
        leave(trap);
    } else if (vector != SPURIOUS_VECTOR) {
        report_unexpected(trap);
    }
}

static struct guard *begin(void) {
    struct guard *g = &guards[cpu_index()];
    g->active = true;
    g->result = (struct caught){ .vector = -1 };
    return g;
}

static struct caught end(struct guard *g) {
    g->active = false;
    return g->result;
}

struct caught catch(void (*code)(void)) {
    struct guard *g = begin();
    call_guarded(&g->resume_rsp, code);
    return end(g);
}

struct caught catch_user_at(void (*code)(void), uint64_t rflags, uint64_t user_rsp, uint64_t cs, uint64_t ss) {
    struct guard *g = begin();
    call_user(&g->resume_rsp, code, user_rsp, rflags, cs, ss);
    return end(g);
}

struct caught catch_user(void (*code)(void), uint64_t rflags) {
    uint64_t *top = &user_stack[USER_STACK_WORDS - 1];
    *top = (uint64_t)user_exit; /* where the function returns to */
    return catch_user_at(code, rflags, (uint64_t)top, USER_CODE, USER_DATA);
}
