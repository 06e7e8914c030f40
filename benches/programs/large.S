# A program of some 50 MB, most of it functions with call frame information that nobody calls, and one chain of calls into
# a system call: what an unwinder has to find its way in when it meets the file for the first time.

    .text
    .macro function
    .cfi_startproc
    push %rbp
    .cfi_def_cfa_offset 16
    .cfi_offset %rbp, -16
    mov %rsp, %rbp
    .cfi_def_cfa_register %rbp
    push %rbx
    .cfi_offset %rbx, -24
    .skip 48, 0x90
    pop %rbx
    pop %rbp
    .cfi_def_cfa %rsp, 8
    ret
    .cfi_endproc
    .endm

    .rept 240000
    function
    .endr

    .globl _start
_start:
    .cfi_startproc
    .cfi_undefined %rip
    call first
    hlt
    .cfi_endproc
first:
    .cfi_startproc
    push %rbx
    .cfi_def_cfa_offset 16
    .cfi_offset %rbx, -16
    call second
    pop %rbx
    .cfi_def_cfa_offset 8
    ret
    .cfi_endproc
second:
    .cfi_startproc
    # write(1, "ready\n", 6); it must not outlive whoever measures it: prctl(PR_SET_PDEATHSIG, SIGKILL)
    mov $157, %eax
    mov $1, %edi
    mov $9, %esi
    syscall
    mov $1, %eax
    mov $1, %edi
    lea ready(%rip), %rsi
    mov $6, %edx
    syscall
1:  mov $34, %eax
    syscall
    jmp 1b
    .cfi_endproc

    .rept 240000
    function
    .endr

    .section .rodata
ready:
    .ascii "ready\n"
    .section .note.GNU-stack,"",@progbits
