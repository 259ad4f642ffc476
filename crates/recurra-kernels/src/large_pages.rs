//! Large pages: memory that is read from end to end, or filled for the first time, otherwise costs the system a page of
//! 4 KiB every 64 lines.

/// Asks the system to back this memory, which nobody has touched yet, with large pages. A hint, where there are such.
pub fn prefer_large_pages<T>(memory: &mut [T]) {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    {
        const LARGE: usize = 2 << 20;
        const MADVISE: i64 = 28;
        const MADV_HUGEPAGE: i64 = 14;
        let start = memory.as_ptr() as usize;
        let (first, end) = (start.next_multiple_of(4096), start + size_of_val(memory));
        if size_of_val(memory) < LARGE {
            return;
        }
        // SAFETY: the call changes how pages are found, not what they hold; the range is ours, in whole pages.
        unsafe {
            std::arch::asm!(
                "syscall",
                inlateout("rax") MADVISE => _,
                in("rdi") first,
                in("rsi") (end - first) & !4095,
                in("rdx") MADV_HUGEPAGE,
                lateout("rcx") _,
                lateout("r11") _,
                options(nostack)
            );
        }
    }
    #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
    let _ = memory;
}
