/* The global descriptor table's selectors, in the order that SYSCALL/SYSRET and SYSENTER/SYSEXIT demand. */
#ifndef SELECTORS_H
#define SELECTORS_H

#define KERNEL_CODE   0x08
#define KERNEL_DATA   0x10
#define USER_CODE32   (0x18 | 3)
#define USER_DATA     (0x20 | 3)
#define USER_CODE     (0x28 | 3)
#define KERNEL_CODE32 0x38
#define FIRST_TSS     0x40

#define MAX_CPUS      8
#define GDT_SPARE     16                                   /* descriptors that a test may define */
#define SPARE_SELECTOR(i) (FIRST_TSS + MAX_CPUS * 16 + (i) * 8)
#define GDT_LIMIT     (SPARE_SELECTOR(GDT_SPARE) - 1)

#define USER_EXIT_VECTOR 0x7F                              /* how ring 3 code started by catch_user comes back */

#endif
