/*
 * Interrupts in real mode (Intel SDM vol 3, 20.1.4), in one boot sector: the table at 0, INT and IRET, faults without error
 * codes, the 8254 through the 8259, a table moved by LIDT. Nothing is taken for granted of a firmware.
 *
 * Conventions: `call check` with ZF set for success and the text, ended by 0, behind the call. Handlers leave the
 * interrupted IP in SI and the flags they found in DI.
 */
#define COM1 0x3F8
#define VECTOR(n) ((n) * 4)

    .code16
    .text
    .global start
start:
    cli
    cld
    ljmp    $0, $1f
1:  xor     %ax, %ax
    mov     %ax, %ds
    mov     %ax, %es
    mov     %ax, %ss
    mov     $start, %sp

    mov     $COM1 + 3, %dx              /* 8 bits, no parity; the divisor stays what it is */
    mov     $3, %al
    out     %al, %dx

    movw    $handler, %bx               /* every vector to the same handler, then two of its own */
    xor     %di, %di
    mov     $256, %cx
2:  mov     %bx, %ax
    stosw
    xor     %ax, %ax
    stosw
    loop    2b
    movw    $divide_error, VECTOR(0)
    movw    $tick, VECTOR(8)

    sti
    int     $0x60
after_int:
    pushf
    pop     %bx
    cli
    cmp     $after_int, %si
    call    check
    .asciz  "INT n saves the next IP"
    test    $0x200, %di
    call    check
    .asciz  "IF is clear in the handler"
    and     $0x200, %bx
    cmp     $0x200, %bx
    call    check
    .asciz  "IRET brings IF back"

    xor     %cx, %cx
at_div:
    div     %cx
    cmp     $at_div, %si
    call    check
    .asciz  "#DE saves its own IP"

    mov     $0x7F, %al
    inc     %al
    into
after_into:
    cmp     $after_into, %si
    call    check
    .asciz  "INTO"

    lidt    table_at_4
    xor     %si, %si
    int     $0x5F                       /* its entry is now where vector 60 has been */
after_moved:
    cmp     $after_moved, %si
    call    check
    .asciz  "LIDT moves the table"
    lidt    table_short
at_beyond:
    int     $0x60
    lidt    table_at_0
    cmp     $at_beyond, %si
    call    check
    .asciz  "beyond the limit: #GP"

    mov     $pic_words, %si             /* ICW1-4: vectors 8 and 70, edge; then only IRQ 0 open */
    mov     $9, %cx
3:  lodsb
    mov     %al, %dl
    xor     %dh, %dh
    lodsb
    out     %al, %dx
    loop    3b
    mov     $0x34, %al                  /* channel 0, mode 2, 512 ticks */
    out     %al, $0x43
    xor     %ax, %ax
    out     %al, $0x40
    mov     $2, %al
    out     %al, $0x40
4:  sti
    hlt
    cli
    cmpb    $3, ticks
    jb      4b
    call    check
    .asciz  "three ticks, HLT between"

    mov     failed, %al
    out     %al, $0xF4
5:  hlt
    jmp     5b

handler:                                /* #GP comes here too: no error code in real mode */
    pop     %si
    push    %si
    pushf
    pop     %di
    cmp     $at_beyond, %si
    jne     6f
    add     $2, %si                     /* behind the INT */
    pop     %ax
    push    %si
    sub     $2, %si
6:  iret

divide_error:
    pop     %si
    lea     2(%si), %ax                 /* behind the DIV */
    push    %ax
    iret

tick:
    incb    ticks
    mov     $0x20, %al
    out     %al, $0x20
    iret

check:
    pop     %si
    mov     $pass, %bp
    je      7f
    mov     $fail, %bp
    movb    $1, failed
7:  xchg    %si, %bp
    call    print
    mov     %bp, %si
    call    print
    push    %si
    mov     $line_end, %si              /* falls into print, which returns behind the text */

print:
    mov     $COM1 + 5, %dx
8:  in      %dx, %al
    test    $0x20, %al
    jz      8b
    lodsb
    test    %al, %al
    jz      9f
    mov     $COM1, %dx
    out     %al, %dx
    jmp     print
9:  ret

pass:       .asciz  "PASS "
fail:       .asciz  "FAIL "
line_end:   .asciz  "\r\n"
pic_words:  .byte   0x20, 0x11, 0x21, 8, 0x21, 4, 0x21, 1, 0xA0, 0x11, 0xA1, 0x70, 0xA1, 2, 0xA1, 1, 0x21, 0xFE
table_at_0: .word   0x3FF, 0, 0
table_at_4: .word   0x3FF, 4, 0
table_short: .word  0x17F, 0, 0
ticks:      .byte   0
failed:     .byte   0
    .org    510
    .word   0xAA55
