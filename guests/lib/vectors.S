/*
 * The 256 interrupt stubs, the common way into C and out again, and the calls that survive an exception.
 * The frame built here is `struct trap` of guest.h.
 */
#include "selectors.h"

/* Vectors for which the processor pushes an error code: #DF #TS #NP #SS #GP #PF #AC #CP, and AMD's #VC #SX. */
#define ERROR_CODE_VECTORS ((1 << 8) | (0x1F << 10) | (1 << 17) | (1 << 21) | (1 << 29) | (1 << 30))

    .text
    .global vector_stubs
    .balign 16
vector_stubs:
    .set    vector, 0
    .rept   256
    .balign 16                          /* stub n is at vector_stubs + 16 * n */
    .if     vector >= 32
    pushq   $0
    .elseif !((ERROR_CODE_VECTORS >> vector) & 1)
    pushq   $0
    .endif
    pushq   $vector
    jmp     trap_entry
    .set    vector, vector + 1
    .endr

trap_entry:
    cld
    push    %rax
    push    %rcx
    push    %rdx
    push    %rbx
    push    %rbp
    push    %rsi
    push    %rdi
    push    %r8
    push    %r9
    push    %r10
    push    %r11
    push    %r12
    push    %r13
    push    %r14
    push    %r15
    mov     %rsp, %rdi
    mov     %rsp, %rbp
    and     $-16, %rsp
    call    trap_dispatch
    mov     %rbp, %rsp
    pop     %r15
    pop     %r14
    pop     %r13
    pop     %r12
    pop     %r11
    pop     %r10
    pop     %r9
    pop     %r8
    pop     %rdi
    pop     %rsi
    pop     %rbp
    pop     %rbx
    pop     %rdx
    pop     %rcx
    pop     %rax
    add     $16, %rsp                   /* vector and error code */
    iretq

/*
 * void call_guarded(uint64_t *resume_rsp, void (*code)(void));
 * void call_user(uint64_t *resume_rsp, void (*code)(void), uint64_t user_rsp, uint64_t rflags, uint64_t cs, uint64_t ss);
 * Save where to come back to, then run `code` in ring 0 or enter it in ring 3. Either it returns, or a handler that
 * has had enough of it sends the CPU to guarded_return with RSP = *resume_rsp.
 */
    .global call_guarded, call_user, guarded_return, user_exit
call_guarded:
    push    %rbx
    push    %rbp
    push    %r12
    push    %r13
    push    %r14
    push    %r15
    pushfq
    mov     %rsp, (%rdi)
    call    *%rsi
guarded_return:
    popfq
    pop     %r15
    pop     %r14
    pop     %r13
    pop     %r12
    pop     %rbp
    pop     %rbx
    ret

call_user:
    push    %rbx
    push    %rbp
    push    %r12
    push    %r13
    push    %r14
    push    %r15
    pushfq
    mov     %rsp, (%rdi)
    push    %r9                         /* SS */
    push    %rdx                        /* RSP */
    push    %rcx                        /* RFLAGS */
    push    %r8                         /* CS */
    push    %rsi                        /* RIP */
    iretq

user_exit:
    int     $USER_EXIT_VECTOR
