/*
 * The runtime of the 32-bit guests: protected mode, flat segments, paging off, all vectors handled, interrupts off, the
 * 8259 pair masked. Smaller than the 64-bit one: these guests are about the processor only.
 */
#ifndef GUEST32_H
#define GUEST32_H

#include "console.h"
#include "cpu.h"

#define KERNEL_CODE 0x08
#define KERNEL_DATA 0x10
#define USER_CODE (0x18 | 3)
#define USER_DATA (0x20 | 3)
#define MAIN_TSS 0x28
#define SPARE_SELECTOR(i) (0x30 + (i) * 8) /* 16 of them for the tests */
#define GDT_ENTRIES 22
#define USER_EXIT_VECTOR 0x7F

void guest_main(void);

enum { DE = 0, DB = 1, NMI = 2, BP = 3, OF = 4, BR = 5, UD = 6, NM = 7, DF = 8, TS = 10, NP = 11, SS = 12, GP = 13,
       PF = 14, MF = 16, AC = 17, XM = 19 };

/* What a stub leaves: registers, vector, error code, then the processor's part. */
struct trap {
    uint32_t gs, fs, es, ds, edi, esi, ebp, esp_of_pusha, ebx, edx, ecx, eax;
    uint32_t vector, error;
    uint32_t eip, cs, eflags;
    uint32_t esp, ss;                         /* pushed only when the privilege level changes */
    uint32_t vm_es, vm_ds, vm_fs, vm_gs;      /* pushed only from virtual-8086 mode */
};
typedef void handler(struct trap *trap);
void on_vector(unsigned vector, handler *h);

struct idt_gate {
    uint16_t offset_low, selector;
    uint8_t zero, type;
    uint16_t offset_high;
};
#define GATE_TASK      0x85
#define GATE_INTERRUPT 0x8E
#define GATE_TRAP      0x8F
#define GATE_DPL3      0x60
extern struct idt_gate idt[256];
void set_gate(unsigned vector, uint8_t type);
void set_gate_to(unsigned vector, uint16_t selector, uint32_t offset, uint8_t type);

struct tss {
    uint32_t link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, eflags, eax, ecx, edx, ebx, esp, ebp, esi, edi;
    uint32_t es, cs, ss, ds, fs, gs, ldt;
    uint16_t trap, io_map;
    uint8_t io_bits[8];
};
extern struct tss main_tss;
extern uint64_t gdt[GDT_ENTRIES];
/* A descriptor: access is the byte with present, DPL and type; flags the nibble with granularity and size. */
uint64_t descriptor(uint32_t base, uint32_t limit, uint8_t access, uint8_t flags);
uint8_t descriptor_access(unsigned selector);

struct caught {
    int vector; /* -1: it came back by itself */
    uint32_t error, eip, cs, eflags, esp, ss, cr2;
    uint32_t frame; /* where the processor's part of the frame began */
};
struct caught catch(void (*code)(void));
struct caught catch_user(void (*code)(void), uint32_t eflags);
/* Run 16-bit code, copied to 0x7000, in virtual-8086 mode with every segment 0x700 and SP 0xF00. */
struct caught catch_vm86(const uint8_t *code, const uint8_t *end, uint32_t eflags);
#define VM86_SEGMENT 0x700
/* For handlers: end what catch() runs. */
void leave(struct trap *trap) __attribute__((noreturn));
extern const uint8_t user_exit[];

#define SNIPPET(name, before, instruction)                                                                             \
    __asm__(".pushsection .text\n.globl " #name "\n" #name ":\n" before "\n.globl " #name "_at\n" #name "_at:\n"       \
            instruction "\n.globl " #name "_after\n" #name "_after:\nret\n.popsection");                               \
    extern void name(void);                                                                                            \
    extern const uint8_t name##_at[], name##_after[]

#endif
