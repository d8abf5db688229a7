/*
 * _Noreturn void nt_context_resume(const struct nt_context *context)
 * Loads every register from a struct nt_context (kernel.h) and goes on there.
 */
    .text
    .globl nt_context_resume
nt_context_resume:
    ldmxcsr 136(%rdi)
    movups  144+6*16(%rdi), %xmm6
    movups  144+7*16(%rdi), %xmm7
    movups  144+8*16(%rdi), %xmm8
    movups  144+9*16(%rdi), %xmm9
    movups  144+10*16(%rdi), %xmm10
    movups  144+11*16(%rdi), %xmm11
    movups  144+12*16(%rdi), %xmm12
    movups  144+13*16(%rdi), %xmm13
    movups  144+14*16(%rdi), %xmm14
    movups  144+15*16(%rdi), %xmm15
    mov     32(%rdi), %rsp          /* the stack may be below our own: nothing of ours is needed */
    push    128(%rdi)               /* rip */
    mov     0(%rdi), %rax
    mov     8(%rdi), %rcx
    mov     16(%rdi), %rdx
    mov     24(%rdi), %rbx
    mov     40(%rdi), %rbp
    mov     48(%rdi), %rsi
    mov     64(%rdi), %r8
    mov     72(%rdi), %r9
    mov     80(%rdi), %r10
    mov     88(%rdi), %r11
    mov     96(%rdi), %r12
    mov     104(%rdi), %r13
    mov     112(%rdi), %r14
    mov     120(%rdi), %r15
    mov     56(%rdi), %rdi
    ret
    .section .note.GNU-stack, "", @progbits
