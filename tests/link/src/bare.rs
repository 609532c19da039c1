//! What a program needs that has neither std nor the C library: an entry, an exit, a
//! panic handler, and the functions on memory that the compiler calls.

use core::arch::{asm, naked_asm};

/// Where the kernel begins, with the stack aligned to 16 octets and no return address
/// on it: a call puts things where a function expects them.
///
/// # Safety
///
/// For the kernel alone to jump to.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn _start() -> ! {
    naked_asm!("xor ebp, ebp", "and rsp, -16", "call {enter}", "ud2", enter = sym enter)
}

extern "C" fn enter() -> ! {
    crate::main()
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit(101)
}

/// Ends the process.
pub fn exit(code: u8) -> ! {
    // SAFETY: system call 60 of Linux on x86-64 is exit; it takes the code in rdi, reads
    // no memory and does not return.
    unsafe { asm!("syscall", in("rax") 60, in("rdi") u64::from(code), options(noreturn, nostack)) }
}

/// As in C.
///
/// # Safety
///
/// `from` is readable and `to` writable for `n` octets, and they do not overlap.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
    // SAFETY: the string move reads `n` octets at `from` and writes as many at `to`, which
    // the caller vouches for; the direction flag is clear by the calling convention.
    unsafe {
        asm!("rep movsb", inout("rcx") n => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags));
    }
    to
}

/// As in C.
///
/// # Safety
///
/// `from` is readable and `to` writable for `n` octets.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
    if (to as usize).wrapping_sub(from as usize) >= n {
        // SAFETY: as the caller vouches for; a move that goes up writes no octet before it
        // is read, since `to` is not inside `from..from + n`.
        return unsafe { memcpy(to, from, n) };
    }
    // SAFETY: as above, from the last octet down; `n` is not 0 here, so that `n - 1` is an
    // offset inside both. The direction flag is cleared again.
    unsafe {
        asm!("std", "rep movsb", "cld", inout("rcx") n => _, inout("rdi") to.add(n - 1) => _,
            inout("rsi") from.add(n - 1) => _, options(nostack));
    }
    to
}

/// As in C.
///
/// # Safety
///
/// `to` is writable for `n` octets.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, octet: i32, n: usize) -> *mut u8 {
    // SAFETY: the string store writes `n` octets at `to`, which the caller vouches for.
    unsafe {
        asm!("rep stosb", inout("rcx") n => _, inout("rdi") to => _, in("al") octet as u8,
            options(nostack, preserves_flags));
    }
    to
}

/// As in C.
///
/// # Safety
///
/// `a` and `b` are readable for `n` octets.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
    for at in 0..n {
        // SAFETY: `at` is below `n`. Volatile, or the compiler makes the loop a call of
        // `memcmp`.
        let (a, b) = unsafe { (a.add(at).read_volatile(), b.add(at).read_volatile()) };
        if a != b {
            return i32::from(a) - i32::from(b);
        }
    }
    0
}

/// Whether two ranges differ: `memcmp` without the order.
///
/// # Safety
///
/// `a` and `b` are readable for `n` octets.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
    // SAFETY: as the caller vouches for.
    unsafe { memcmp(a, b, n) }
}
