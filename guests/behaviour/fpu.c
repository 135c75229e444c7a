/*
 * x87, MMX and SSE at a glance: exact results, control and status, the exceptions #MF and #XM, the layout of FXSAVE (Intel SDM
 * vol 1, chapters 8 to 11; vol 2). The operations are in assembly: the compiler may not use these registers here.
 */
#include "guest.h"

struct extended {
    uint64_t significand;
    uint16_t exponent;
} __attribute__((packed));

struct extended x87_result;
uint64_t u64_result[4];
uint32_t u32_result[4];
uint16_t control, status_word;
uint64_t double_a, double_b;

/* One x87 computation that leaves its result in ST0. */
#define X87(code)                                                                                                      \
    ({                                                                                                                 \
        __asm__ volatile("fninit\n" code "\nfnstsw status_word\nfstpt x87_result" ::: "memory", "rax");                \
        x87_result;                                                                                                    \
    })

static void expect_extended(const char *text, struct extended got, uint16_t exponent, uint64_t significand) {
    bool ok = got.exponent == exponent && got.significand == significand;
    if (!check(text, ok)) printf("    %04x %016lx\n", got.exponent, got.significand);
}

#define SET_CONTROL(value) "movw $" value ", control\nfldcw control\n"

static void x87_results(void) {
    __asm__ volatile("fninit; fnstcw control; fnstsw status_word" ::: "memory");
    check("FNINIT: control word 037F, status 0", control == 0x037F && status_word == 0);
    expect_extended("1", X87("fld1"), 0x3FFF, 0x8000000000000000);
    expect_extended("pi in extended precision", X87("fldpi"), 0x4000, 0xC90FDAA22168C235);
    expect_extended("1/3 in extended precision, to nearest", X87("fld1; push $3; fidivl (%%rsp); pop %%rax"), 0x3FFD, 0xAAAAAAAAAAAAAAAB);
    expect_extended("1/3 with precision control double", X87(SET_CONTROL("0x27F") "fld1; push $3; fidivl (%%rsp); pop %%rax"),
                    0x3FFD, 0xAAAAAAAAAAAAA800);
    expect_extended("1/3 with precision control single", X87(SET_CONTROL("0x07F") "fld1; push $3; fidivl (%%rsp); pop %%rax"),
                    0x3FFD, 0xAAAAAB0000000000);
    expect_extended("1/3 rounded down", X87(SET_CONTROL("0x77F") "fld1; push $3; fidivl (%%rsp); pop %%rax"), 0x3FFD,
                    0xAAAAAAAAAAAAAAAA);
    check("inexact sets PE", status_word & 0x20);
    expect_extended("square root of 2", X87("fld1; fadd %%st(0); fsqrt"), 0x3FFF, 0xB504F333F9DE6484);
    expect_extended("arc tangent of 1", X87("fld1; fld1; fpatan"), 0x3FFE, 0xC90FDAA22168C235);
    expect_extended("log2 of 8 is 3", X87("fld1; push $8; fildl (%%rsp); pop %%rax; fyl2x"), 0x4000, 0xC000000000000000);
    expect_extended("remainder of 17 by 5", X87("push $5; fildl (%%rsp); push $17; fildl (%%rsp); pop %%rax; pop %%rax; fprem"),
                    0x4000, 0x8000000000000000);
    expect_extended("1/0, masked, is infinity", X87("fld1; fldz; fdivrp %%st, %%st(1)"), 0x7FFF, 0x8000000000000000);
    check("and sets ZE", status_word & 4);
    expect_extended("0/0, masked, is the default NaN", X87("fldz; fldz; fdivrp %%st, %%st(1)"), 0xFFFF, 0xC000000000000000);
    check("and sets IE", status_word & 1);
    X87("fld1; fld1; fld1; fld1; fld1; fld1; fld1; fld1; fld1");
    check("the ninth load overflows the stack: IE, SF, C1", (status_word & 0x241) == 0x241);
    X87("fld1; fstp %%st(0); fxch");
    check("an empty register underflows it: IE, SF, not C1", (status_word & 0x241) == 0x041);
}

static void x87_conversions(void) {
    __asm__ volatile("fninit; fldpi; push $10; fimull (%%rsp); fistl u32_result; " SET_CONTROL("0xF7F")
                     "fistl u32_result + 4; " SET_CONTROL("0xB7F") "fistpl u32_result + 8; pop %%rax" ::: "memory", "rax");
    check("FIST rounds as the control word says: nearest, to zero, up",
          u32_result[0] == 31 && u32_result[1] == 31 && u32_result[2] == 32);
    __asm__ volatile("fninit; push $1234567; fildl (%%rsp); pop %%rax; fbstp x87_result" ::: "memory", "rax");
    check("FBSTP: packed decimal", x87_result.significand == 0x1234567 && x87_result.exponent == 0);
    uint64_t flags;
    __asm__ volatile("fninit; fldz; fld1; fcomi %%st(1); pushfq; pop %0" : "=r"(flags)::"memory");
    check("FCOMI: 1 is above 0", !(flags & (FLAG_CF | FLAG_ZF)));
}

SNIPPET(wait_pending, "fninit\nmovw $0x37B, control\nfldcw control\nfld1\nfldz\nfdivrp %st, %st(1)", "fwait");
SNIPPET(next_x87, "fninit\nmovw $0x37B, control\nfldcw control\nfld1\nfldz\nfdivrp %st, %st(1)", "fld1");
SNIPPET(not_waiting, "fninit\nmovw $0x37B, control\nfldcw control\nfld1\nfldz\nfdivrp %st, %st(1)", "fnclex\nfwait");

static void x87_exceptions(void) {
    struct caught c = catch(wait_pending);
    check("#MF: an unmasked error comes at the next waiting instruction: FWAIT", c.vector == MF && c.rip == (uint64_t)wait_pending_at);
    __asm__ volatile("fnstsw status_word" ::: "memory");
    check("the status word has ES, B and ZE", (status_word & 0x8084) == 0x8084);
    c = catch(next_x87);
    check("#MF: or any other x87 instruction", c.vector == MF && c.rip == (uint64_t)next_x87_at);
    c = catch(not_waiting);
    check("FNCLEX does not wait, and clears it", c.vector == -1);
    __asm__ volatile("fninit");
}

static void sse_results(void) {
    double_a = 0x3FB999999999999A; /* 0.1 */
    double_b = 0x3FC999999999999A; /* 0.2 */
    __asm__ volatile("movsd double_a, %%xmm0; addsd double_b, %%xmm0; movsd %%xmm0, u64_result" ::: "memory");
    check("ADDSD: 0.1 + 0.2", u64_result[0] == 0x3FD3333333333334);
    __asm__ volatile("movsd double_b, %%xmm1; sqrtsd %%xmm1, %%xmm0; movsd %%xmm0, u64_result" ::: "memory");
    check("SQRTSD", u64_result[0] == 0x3FDC9F25C5BFEDD9);
    __asm__ volatile("mov $-7, %%eax; cvtsi2sd %%eax, %%xmm0; movsd %%xmm0, u64_result; cvttsd2si %%xmm0, %%rax; mov %%rax, u64_result + 8"
                     ::: "rax", "memory");
    check("CVTSI2SD and CVTTSD2SI", u64_result[0] == 0xC01C000000000000 && u64_result[1] == (uint64_t)-7);
    __asm__ volatile("mov $0x01020304, %%eax; movd %%eax, %%xmm0; pshufd $0, %%xmm0, %%xmm0; paddd %%xmm0, %%xmm0; movdqu %%xmm0, u64_result"
                     ::: "rax", "memory");
    check("PSHUFD and PADDD", u64_result[0] == 0x0204060802040608 && u64_result[1] == 0x0204060802040608);
    __asm__ volatile("mov $0x7F, %%eax; movd %%eax, %%mm0; paddsb %%mm0, %%mm0; movd %%mm0, u32_result; emms" ::: "rax", "memory");
    check("MMX: PADDSB saturates", u32_result[0] == 0x7F);
    uint64_t crc = 0xFFFFFFFF, ones;
    __asm__ volatile("crc32b %2, %k0; popcnt %3, %1" : "+r"(crc), "=r"(ones) : "r"((uint8_t)'a'), "r"(0xF0F0UL));
    check("CRC32 and POPCNT", (uint32_t)~crc == 0xC1D04330 && ones == 8);
}

uint32_t mxcsr;
SNIPPET(divide_unmasked, "movl $0x1D80, mxcsr\nldmxcsr mxcsr\nmov $1, %eax\ncvtsi2sd %eax, %xmm0\nxorps %xmm1, %xmm1",
        "divsd %xmm1, %xmm0");
SNIPPET(mxcsr_reserved, "movl $0x10000, mxcsr", "ldmxcsr mxcsr");

static void sse_exceptions(void) {
    struct caught c = catch(divide_unmasked);
    check("#XM: an unmasked error comes at the instruction itself", c.vector == XM && c.rip == (uint64_t)divide_unmasked_at);
    __asm__ volatile("stmxcsr mxcsr" ::: "memory");
    check("MXCSR has ZE", mxcsr & 4);
    write_cr4(read_cr4() & ~(1UL << 10));
    c = catch(divide_unmasked);
    check("#UD instead, without CR4.OSXMMEXCPT", c.vector == UD && c.rip == (uint64_t)divide_unmasked_at);
    write_cr4(read_cr4() | 1UL << 10);
    c = catch(mxcsr_reserved);
    check("reserved bits of MXCSR: #GP(0)", c.vector == GP && c.error == 0);
    mxcsr = 0x1F80;
    __asm__ volatile("ldmxcsr mxcsr" ::: "memory");
}

static uint8_t area[512] __attribute__((aligned(16)));
uint8_t *fxsave_area = area;
SNIPPET(fxsave_unaligned, "mov fxsave_area, %rax", "fxsave 8(%rax)");

static void state_area(void) {
    for (unsigned i = 0; i < sizeof area; i++) area[i] = 0xEE;
    __asm__ volatile("fninit; fld1; fldpi; mov $0x1234, %%eax; movd %%eax, %%xmm0; movd %%eax, %%xmm15; fxsave64 %0; fninit"
                     : "+m"(area)::"rax", "memory");
    uint16_t *words = (uint16_t *)area;
    uint32_t *dwords = (uint32_t *)area;
    uint64_t *qwords = (uint64_t *)area;
    check("FXSAVE: control word at 0, status at 2: two pushed", words[0] == 0x037F && (words[1] & 0x3800) == 6 << 11);
    check("FXSAVE: abridged tags at 4: one bit for each register in use", area[4] == 0xC0);
    check("FXSAVE: MXCSR at 24, its mask at 28", dwords[6] == 0x1F80 && (dwords[7] & 0xFFBF) == 0xFFBF);
    check("FXSAVE: ST0 at 32, ST1 at 48", qwords[4] == 0xC90FDAA22168C235 && words[20] == 0x4000 &&
          qwords[6] == 0x8000000000000000 && words[28] == 0x3FFF);
    check("FXSAVE: XMM0 at 160, XMM15 at 400", qwords[20] == 0x1234 && qwords[50] == 0x1234);
    check("FXSAVE: the last 48 bytes are the software's", area[464] == 0xEE && area[511] == 0xEE);
    qwords[20] = 0x5678;
    __asm__ volatile("fxrstor64 %1; movq %%xmm0, u64_result; fstpt x87_result" : "=m"(u64_result) : "m"(area) : "memory");
    check("FXRSTOR brings it back", u64_result[0] == 0x5678 && x87_result.significand == 0xC90FDAA22168C235);
    struct caught c = catch(fxsave_unaligned);
    check("FXSAVE to an address that is not a multiple of 16: #GP(0)", c.vector == GP && c.error == 0);
    __asm__ volatile("fninit");
}

void guest_main(void) {
    x87_results();
    x87_conversions();
    x87_exceptions();
    sse_results();
    sse_exceptions();
    state_area();
}
