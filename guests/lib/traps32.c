/* GDT, IDT and TSS of the 32-bit guests, the one C entry of all vectors, and running code that may fault. */
#include "guest32.h"
#include "i8259.h"

#define TRAP_STACK_BYTES 4096
#define USER_STACK_WORDS 512

extern const uint8_t vector_stubs[];
void call_guarded(uint32_t *resume_esp, void (*code)(void));
void call_user(uint32_t *resume_esp, const uint32_t *iret_frame);
void resume(uint32_t resume_esp) __attribute__((noreturn));
void start_guest(uint32_t multiboot_info);
void trap_dispatch(struct trap *trap);

struct idt_gate idt[256] __attribute__((aligned(8)));
uint64_t gdt[GDT_ENTRIES] __attribute__((aligned(8)));
struct tss main_tss;

static handler *handlers[256];
static uint8_t trap_stack[TRAP_STACK_BYTES] __attribute__((aligned(16)));
static uint32_t user_stack[USER_STACK_WORDS];
static bool guarding;
static uint32_t resume_esp;
static struct caught result;

uint64_t descriptor(uint32_t base, uint32_t limit, uint8_t access, uint8_t flags) {
    return (limit & 0xFFFF) | (uint64_t)(base & 0xFFFFFF) << 16 | (uint64_t)access << 40 |
           (uint64_t)(limit >> 16 & 0xF) << 48 | (uint64_t)flags << 52 | (uint64_t)(base >> 24) << 56;
}

uint8_t descriptor_access(unsigned selector) { return (uint8_t)(gdt[selector / 8] >> 40); }

void on_vector(unsigned vector, handler *h) { handlers[vector] = h; }

void set_gate_to(unsigned vector, uint16_t selector, uint32_t offset, uint8_t type) {
    idt[vector] = (struct idt_gate){ (uint16_t)offset, selector, 0, type, (uint16_t)(offset >> 16) };
}

void set_gate(unsigned vector, uint8_t type) {
    set_gate_to(vector, KERNEL_CODE, (uint32_t)vector_stubs + vector * 16, type);
}

static void load_tables(void) {
    struct {
        uint16_t limit;
        uint32_t base;
    } __attribute__((packed)) gdtr = { sizeof gdt - 1, (uint32_t)gdt }, idtr = { sizeof idt - 1, (uint32_t)idt };
    gdt[KERNEL_CODE / 8] = descriptor(0, 0xFFFFF, 0x9B, 0xC);
    gdt[KERNEL_DATA / 8] = descriptor(0, 0xFFFFF, 0x93, 0xC);
    gdt[USER_CODE / 8] = descriptor(0, 0xFFFFF, 0xFB, 0xC);
    gdt[USER_DATA / 8] = descriptor(0, 0xFFFFF, 0xF3, 0xC);
    gdt[MAIN_TSS / 8] = descriptor((uint32_t)&main_tss, sizeof main_tss - 1, 0x89, 0);
    main_tss.ss0 = KERNEL_DATA;
    main_tss.esp0 = (uint32_t)trap_stack + TRAP_STACK_BYTES;
    main_tss.io_map = sizeof main_tss;
    for (unsigned v = 0; v < 256; v++) set_gate(v, GATE_INTERRUPT);
    set_gate(USER_EXIT_VECTOR, GATE_INTERRUPT | GATE_DPL3);
    __asm__ volatile("lgdt %0; ljmp $0x08, $1f; 1: mov %2, %%ds; mov %2, %%es; mov %2, %%fs; mov %2, %%gs; mov %2, %%ss;"
                     "lidt %1; ltr %w3" ::"m"(gdtr), "m"(idtr), "r"(KERNEL_DATA), "r"(MAIN_TSS) : "memory");
}

void start_guest(uint32_t multiboot_info) {
    load_tables();
    pic_setup();
    serial_setup();
    read_command_line(multiboot_info);
    guest_main();
    finish();
}

/* Nothing but the 8259 is in use here, and it is connected as a board's firmware leaves it. */
void only_pic_interrupts(void) {}

void leave(struct trap *t) {
    result = (struct caught){ (int)t->vector, t->error, t->eip, t->cs, t->eflags, t->esp, t->ss, read_cr2(),
                              (uint32_t)&t->eip };
    guarding = false;
    resume(resume_esp);
}

void trap_dispatch(struct trap *t) {
    if (handlers[t->vector]) {
        handlers[t->vector](t);
    } else if (guarding && t->vector == USER_EXIT_VECTOR) {
        t->vector = (uint32_t)-1;
        leave(t);
    } else if (guarding && t->vector < 32) {
        leave(t);
    } else {
        die("unexpected vector %u: error 0x%x, EIP 0x%x, CS 0x%x, EFLAGS 0x%x, CR2 0x%lx", t->vector, t->error, t->eip, t->cs,
            t->eflags, (unsigned long)read_cr2());
    }
}

struct caught catch(void (*code)(void)) {
    guarding = true;
    result = (struct caught){ .vector = -1 };
    call_guarded(&resume_esp, code);
    guarding = false;
    return result;
}

struct caught catch_user(void (*code)(void), uint32_t eflags) {
    uint32_t *top = &user_stack[USER_STACK_WORDS - 1];
    *top = (uint32_t)user_exit; /* where the function returns to */
    uint32_t frame[5] = { (uint32_t)code, USER_CODE, eflags, (uint32_t)top, USER_DATA };
    guarding = true;
    call_user(&resume_esp, frame);
    return result;
}

struct caught catch_vm86(const uint8_t *code, const uint8_t *end, uint32_t eflags) {
    volatile uint8_t *to = (volatile uint8_t *)(VM86_SEGMENT * 16);
    while (code < end) *to++ = *code++;
    uint32_t s = VM86_SEGMENT, frame[9] = { 0, s, eflags | FLAG_VM, 0xF00, s, s, s, s, s };
    guarding = true;
    call_user(&resume_esp, frame);
    return result;
}
