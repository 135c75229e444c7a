/*
 * The way into a 64-bit guest: multiboot 1 header, 32-bit entry, long mode, and the same way for application processors.
 *
 * A multiboot loader enters `start` in 32-bit protected mode, paging off, with EBX = physical address of its information
 * record. Application processors enter in real mode at 0x8000 after INIT-SIPI-SIPI (Intel SDM vol 3, 9.4.4) with the
 * code between ap_trampoline and ap_trampoline_end, which smp.c copies there.
 */
#include "selectors.h"

#define MULTIBOOT_MAGIC 0x1BADB002
#define MULTIBOOT_FLAGS 3               /* modules on page boundaries, memory information */

#define PRESENT_WRITE_USER 0x07
#define LARGE_PAGE         0x80
#define UNCACHED           0x18         /* PCD | PWT, for device registers */

    .section .multiboot, "a"
    .align 4
    .long MULTIBOOT_MAGIC, MULTIBOOT_FLAGS, -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)

    .text
    .code32
    .global start
start:
    cli
    cld
    mov     $boot_stack_top, %esp
    mov     %ebx, multiboot_info
    call    build_page_tables
    xor     %edi, %edi                  /* first argument of cpu_main: the index of this CPU */
    jmp     enter_long_mode

/*
 * Identity map: the first GiB in 2 MiB pages, and the device ranges 0xFEC00000-0xFEFFFFFF (I/O APIC, HPET, local APIC)
 * and 0xFF000000-0xFF1FFFFF (test device). Ring 3 may touch all of it; guests about protection build their own tables.
 */
build_page_tables:
    movl    $(page_directory_pointers + PRESENT_WRITE_USER), page_map_level4
    movl    $(page_directory_low + PRESENT_WRITE_USER), page_directory_pointers
    movl    $(page_directory_high + PRESENT_WRITE_USER), page_directory_pointers + 3 * 8
    mov     $page_directory_low, %edi
    mov     $(PRESENT_WRITE_USER + LARGE_PAGE), %eax
    mov     $512, %ecx
1:  mov     %eax, (%edi)
    add     $0x200000, %eax
    add     $8, %edi
    loop    1b
    movl    $(0xFEC00000 + PRESENT_WRITE_USER + LARGE_PAGE + UNCACHED), page_directory_high + 0x1F6 * 8
    movl    $(0xFEE00000 + PRESENT_WRITE_USER + LARGE_PAGE + UNCACHED), page_directory_high + 0x1F7 * 8
    movl    $(0xFF000000 + PRESENT_WRITE_USER + LARGE_PAGE + UNCACHED), page_directory_high + 0x1F8 * 8
    ret

/* In: EDI = index of this CPU, ESP = its stack. */
enter_long_mode:
    mov     %cr4, %eax
    or      $0x620, %eax                /* PAE, OSFXSR, OSXMMEXCPT */
    mov     %eax, %cr4
    mov     $page_map_level4, %eax
    mov     %eax, %cr3
    mov     $0xC0000080, %ecx           /* EFER */
    rdmsr
    or      $0x901, %eax                /* SCE, LME, NXE */
    wrmsr
    mov     %cr0, %eax
    and     $0x9FFFFFF3, %eax           /* caches on; TS and EM off */
    or      $0x80010022, %eax           /* PG, WP, NE, MP */
    mov     %eax, %cr0
    lgdt    gdt_pointer
    ljmp    $KERNEL_CODE, $long_mode

    .code64
long_mode:
    mov     $KERNEL_DATA, %eax
    mov     %eax, %ds
    mov     %eax, %es
    mov     %eax, %ss
    xor     %eax, %eax
    mov     %eax, %fs
    mov     %eax, %gs
    mov     %esp, %esp                  /* upper half of RSP is undefined after the mode switch */
    mov     %edi, %edi
    call    cpu_main
1:  hlt
    jmp     1b

/* Real mode, CS = 0x0800, IP = 0. */
    .global ap_trampoline, ap_trampoline_end
    .code16
ap_trampoline:
    cli
    cld
    mov     %cs, %ax
    mov     %ax, %ds
    lgdtl   ap_gdt_pointer - ap_trampoline
    mov     %cr0, %eax
    or      $1, %al
    mov     %eax, %cr0
    ljmpl   $KERNEL_CODE32, $ap_protected
    .align 4
ap_gdt_pointer:
    .word   GDT_LIMIT
    .long   gdt
ap_trampoline_end:

    .code32
ap_protected:
    mov     $KERNEL_DATA, %eax
    mov     %eax, %ds
    mov     %eax, %es
    mov     %eax, %ss
    mov     ap_stack, %esp
    mov     ap_index, %edi
    jmp     enter_long_mode

    .data
    .global gdt, gdt_pointer
    .align 16
gdt:
    .quad   0
    .quad   0x00AF9B000000FFFF          /* KERNEL_CODE: 64-bit, ring 0 */
    .quad   0x00CF93000000FFFF          /* KERNEL_DATA */
    .quad   0x00CFFB000000FFFF          /* USER_CODE32 */
    .quad   0x00CFF3000000FFFF          /* USER_DATA */
    .quad   0x00AFFB000000FFFF          /* USER_CODE: 64-bit, ring 3 */
    .quad   0x00CFF3000000FFFF          /* what SYSEXIT to 64-bit code names as SS */
    .quad   0x00CF9B000000FFFF          /* KERNEL_CODE32 */
    .fill   MAX_CPUS * 2 + GDT_SPARE, 8, 0  /* two slots for each TSS, filled by traps.c; then slots for tests */
gdt_end:
    .align 16
    .word 0, 0, 0
gdt_pointer:
    .word   GDT_LIMIT
    .quad   gdt
    .global multiboot_info, ap_stack, ap_index
    .align 8
multiboot_info: .quad 0
ap_stack:       .quad 0
ap_index:       .quad 0

    .bss
    .global page_map_level4, page_directory_pointers, page_directory_low, page_directory_high
    .balign 4096
page_map_level4:         .skip 4096
page_directory_pointers: .skip 4096
page_directory_low:      .skip 4096
page_directory_high:     .skip 4096
    .skip 16384
boot_stack_top:
