/*
 * Routines of the kernel that may fault on memory of user programs, and the raising of exceptions.
 *
 * They are leaves in the sense of Microsoft's calling convention: the return address is at the top of
 * the stack all the time and no register that belongs to the caller is changed, except rsi and rdi,
 * which r11 and r10 hold meanwhile. So an exception at any instruction between nt_leaf_begin and
 * nt_leaf_end can be unwound (seh.c) without tables.
 */
    .text
    .globl nt_leaf_begin, nt_leaf_end
    .globl nt_memcpy, nt_memmove, nt_memset, nt_memcmp
    .globl nt_ProbeForRead, nt_ProbeForWrite, nt_ExRaiseStatus, nt_raise_place

nt_leaf_begin:

/* void *memcpy(void *to, const void *from, size_t size) */
nt_memmove:
    mov     %rdx, %rax
    sub     %rcx, %rax              /* from - to: below size when the end of `from` is overwritten */
    neg     %rax
    cmp     %r8, %rax
    jb      backward
nt_memcpy:
    mov     %rdi, %r10
    mov     %rsi, %r11
    mov     %rcx, %rax
    mov     %rcx, %rdi
    mov     %rdx, %rsi
    mov     %r8, %rcx
    rep movsb
    mov     %r10, %rdi
    mov     %r11, %rsi
    ret
backward:
    mov     %rcx, %rax
1:  test    %r8, %r8
    jz      2f
    dec     %r8
    movzbl  (%rdx,%r8), %r9d
    mov     %r9b, (%rcx,%r8)
    jmp     1b
2:  ret

/* void *memset(void *to, int value, size_t size) */
nt_memset:
    mov     %rdi, %r10
    mov     %rsi, %r11
    mov     %rcx, %r9
    mov     %rcx, %rdi
    mov     %edx, %eax
    mov     %r8, %rcx
    rep stosb
    mov     %r9, %rax
    mov     %r10, %rdi
    mov     %r11, %rsi
    ret

/* int memcmp(const void *a, const void *b, size_t size) */
nt_memcmp:
    xor     %eax, %eax
    xor     %r9d, %r9d
3:  cmp     %r9, %r8
    je      4f
    movzbl  (%rcx,%r9), %eax
    movzbl  (%rdx,%r9), %r10d
    inc     %r9
    sub     %r10d, %eax
    jz      3b
4:  ret

/* The checks are in C (seh.c) and return a status; what is not OK is raised here, in a leaf. */
nt_ProbeForRead:
    sub     $40, %rsp
    call    nt_probe_read
    add     $40, %rsp
    test    %eax, %eax
    jnz     raise
    ret
nt_ProbeForWrite:
    sub     $40, %rsp
    call    nt_probe_write
    add     $40, %rsp
    test    %eax, %eax
    jnz     raise
    ret

/* void ExRaiseStatus(NTSTATUS status): a trap that trap.c knows; the status is in eax. */
nt_ExRaiseStatus:
    mov     %ecx, %eax
raise:
nt_raise_place:
    ud2

nt_leaf_end:
    .section .note.GNU-stack, "", @progbits
