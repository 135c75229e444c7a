/*
 * A 32-bit guest's entry from multiboot, its 256 interrupt stubs, and the calls that survive an exception.
 * The frame built by the stubs is `struct trap` of guest32.h.
 */
#define KERNEL_DATA 0x10
#define USER_DATA 0x23
#define USER_EXIT_VECTOR 0x7F
#define ERROR_CODE_VECTORS ((1 << 8) | (0x1F << 10) | (1 << 17) | (1 << 21))
#define MULTIBOOT_FLAGS 3

    .section .multiboot, "a"
    .align 4
    .long 0x1BADB002, MULTIBOOT_FLAGS, -(0x1BADB002 + MULTIBOOT_FLAGS)

    .text
    .global start
start:
    cli
    cld
    mov     $boot_stack_top, %esp
    mov     %cr0, %eax
    and     $0xFFFFFFF3, %eax           /* TS and EM off */
    or      $0x22, %eax                 /* NE, MP */
    mov     %eax, %cr0
    push    %ebx
    call    start_guest
1:  hlt
    jmp     1b

    .global vector_stubs
    .balign 16
vector_stubs:
    .set    vector, 0
    .rept   256
    .balign 16
    .if     vector >= 32
    push    $0
    .elseif !((ERROR_CODE_VECTORS >> vector) & 1)
    push    $0
    .endif
    push    $vector
    jmp     trap_entry
    .set    vector, vector + 1
    .endr

trap_entry:
    cld
    pusha
    push    %ds
    push    %es
    push    %fs
    push    %gs
    mov     $KERNEL_DATA, %eax
    mov     %eax, %ds
    mov     %eax, %es
    push    %esp
    call    trap_dispatch
    add     $4, %esp
    pop     %gs
    pop     %fs
    pop     %es
    pop     %ds
    popa
    add     $8, %esp
    iret

/*
 * void call_guarded(uint32_t *resume_esp, void (*code)(void));
 * void call_user(uint32_t *resume_esp, const uint32_t iret_frame[9]);
 * void resume(uint32_t resume_esp): makes the call that stored it return.
 */
    .global call_guarded, call_user, resume, user_exit
call_guarded:
    mov     4(%esp), %eax
    mov     8(%esp), %edx
    push    %ebx
    push    %ebp
    push    %esi
    push    %edi
    mov     %esp, (%eax)
    call    *%edx
leave_guarded:
    mov     $KERNEL_DATA, %eax
    mov     %eax, %ds
    mov     %eax, %es
    mov     %eax, %fs
    mov     %eax, %gs
    push    $2
    popf
    pop     %edi
    pop     %esi
    pop     %ebp
    pop     %ebx
    ret

resume:
    mov     4(%esp), %ecx
    mov     $KERNEL_DATA, %eax
    mov     %eax, %ss
    mov     %ecx, %esp
    jmp     leave_guarded

/* The frame has EIP, CS, EFLAGS, ESP, SS and, for virtual-8086 mode, ES, DS, FS, GS. */
call_user:
    mov     4(%esp), %eax
    mov     8(%esp), %edx
    push    %ebx
    push    %ebp
    push    %esi
    push    %edi
    mov     %esp, (%eax)
    mov     $USER_DATA, %eax
    testl   $0x20000, 8(%edx)
    jnz     1f
    mov     %eax, %ds
    mov     %eax, %es
1:  mov     %edx, %esp                  /* the frame's memory is a stack that IRET pops */
    iret

user_exit:
    int     $USER_EXIT_VECTOR

    .bss
    .balign 16
    .skip 8192
boot_stack_top:
