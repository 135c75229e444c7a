/* Instructions that C has no words for. */
#ifndef CPU_H
#define CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline void outb(uint16_t port, uint8_t value) { __asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port)); }
static inline void outw(uint16_t port, uint16_t value) { __asm__ volatile("outw %0, %1" ::"a"(value), "Nd"(port)); }
static inline void outl(uint16_t port, uint32_t value) { __asm__ volatile("outl %0, %1" ::"a"(value), "Nd"(port)); }
static inline uint8_t inb(uint16_t port) {
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
static inline uint16_t inw(uint16_t port) {
    uint16_t value;
    __asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
static inline uint32_t inl(uint16_t port) {
    uint32_t value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

/* Device registers in memory. */
static inline uint32_t mmio_read(uintptr_t address) { return *(volatile uint32_t *)address; }
static inline void mmio_write(uintptr_t address, uint32_t value) { *(volatile uint32_t *)address = value; }

static inline void cli(void) { __asm__ volatile("cli" ::: "memory"); }
static inline void sti(void) { __asm__ volatile("sti" ::: "memory"); }
static inline void pause(void) { __asm__ volatile("pause" ::: "memory"); }
/* Sleep until an interrupt: none can slip in between STI and HLT (SDM vol 2, STI). Returns with interrupts off. */
static inline void sti_hlt_cli(void) { __asm__ volatile("sti; hlt; cli" ::: "memory"); }
/* Give a pending interrupt its chance: one instruction after STI with interrupts on. */
static inline void sti_nop_cli(void) { __asm__ volatile("sti; nop; nop; cli" ::: "memory"); }

static inline uint64_t rdmsr(uint32_t msr) {
    uint32_t low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
    return (uint64_t)high << 32 | low;
}
static inline void wrmsr(uint32_t msr, uint64_t value) {
    __asm__ volatile("wrmsr" ::"c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
}
static inline uint64_t rdtsc(void) {
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

struct cpuid {
    uint32_t eax, ebx, ecx, edx;
};
static inline struct cpuid cpuid(uint32_t leaf, uint32_t subleaf) {
    struct cpuid r;
    __asm__ volatile("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx) : "a"(leaf), "c"(subleaf));
    return r;
}

#define DEFINE_REGISTER(name)                                                                                          \
    static inline uintptr_t read_##name(void) {                                                                        \
        uintptr_t value;                                                                                               \
        __asm__ volatile("mov %%" #name ", %0" : "=r"(value)::"memory");                                               \
        return value;                                                                                                  \
    }                                                                                                                  \
    static inline void write_##name(uintptr_t value) { __asm__ volatile("mov %0, %%" #name ::"r"(value) : "memory"); }
DEFINE_REGISTER(cr0)
DEFINE_REGISTER(cr2)
DEFINE_REGISTER(cr3)
DEFINE_REGISTER(cr4)
#ifdef __x86_64__
DEFINE_REGISTER(cr8)
#endif
DEFINE_REGISTER(dr0)
DEFINE_REGISTER(dr1)
DEFINE_REGISTER(dr2)
DEFINE_REGISTER(dr3)
DEFINE_REGISTER(dr6)
DEFINE_REGISTER(dr7)
#undef DEFINE_REGISTER

static inline uintptr_t read_flags(void) {
    uintptr_t value;
    __asm__ volatile("pushf; pop %0" : "=r"(value)::"memory");
    return value;
}
static inline void invlpg(const volatile void *address) {
    __asm__ volatile("invlpg (%0)" ::"r"(address) : "memory");
}

#define FLAG_CF 0x0001
#define FLAG_ZF 0x0040
#define FLAG_TF 0x0100
#define FLAG_IF 0x0200
#define FLAG_OF 0x0800
#define FLAG_NT 0x4000
#define FLAG_RF 0x10000
#define FLAG_VM 0x20000
#define FLAG_AC 0x40000

#endif
