//! Large pages for large buffers.
//!
//! A processor finds a page of memory in a small table; a buffer of many megabytes in pages of 4 KiB does not fit there, and a
//! miss costs as much as a miss of the second cache. Linux gives out pages of 2 MiB to who asks.

/// Bytes from which it is worth asking.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
const LEAST: usize = 4 << 20;

/// Asks the system for large pages in the memory of `values`, used or not; those that are in use already stay as they are.
/// A wish: where the system has none nothing changes.
pub fn prefer<T>(values: &mut Vec<T>) {
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    {
        const PAGE: usize = 4096;
        let bytes = values.capacity() * size_of::<T>();
        if bytes < LEAST {
            return;
        }
        let start = values.as_mut_ptr() as usize;
        let first = start.next_multiple_of(PAGE);
        advise(first, (start + bytes - first) / PAGE * PAGE);
    }
    #[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
    let _ = values;
}

/// `madvise(start, len, MADV_HUGEPAGE)`.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn advise(start: usize, len: usize) {
    const MADVISE: i64 = 28;
    const MADV_HUGEPAGE: i64 = 14;
    // SAFETY: the call changes how memory is backed and none of its content; an answer of "no" is none of our business.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") MADVISE => _,
            in("rdi") start,
            in("rsi") len,
            in("rdx") MADV_HUGEPAGE,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack)
        );
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn asking_changes_no_value() {
        for len in [0, 1, 3 << 20] {
            let mut values: Vec<f32> = (0..len).map(|idx| idx as f32).collect();
            super::prefer(&mut values);
            assert!(values.iter().enumerate().all(|(idx, &value)| value == idx as f32));
        }
    }
}
