//! The matrix unit of newer Xeons: whether this machine has it, and how its tiles are shaped.
//!
//! AMX has eight tiles of up to 16 rows of 64 bytes. One instruction multiplies a tile A of m rows with a tile B and adds the
//! product to a tile C of m × 16 `f32`. It takes max(8, m) cycles, the result is ready after 52.
//! (Intel, "Intel 64 and IA-32 Architectures Optimization Reference Manual", chapter on AMX; the 8 measured here.)

#[cfg(target_arch = "x86_64")]
use super::{ROW_BYTES, ROWS};

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(crate) use linux::is_available;

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
pub(crate) fn is_available() -> bool {
    false
}

/// The shapes of the eight tiles, as `ldtilecfg` reads them.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Shapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

#[cfg(target_arch = "x86_64")]
impl Shapes {
    /// Tile i with `tiles[i]` = (rows, bytes a row), 1 to 16 and 1 to 64.
    pub(crate) const fn new(tiles: [(usize, usize); 8]) -> Self {
        let mut shapes =
            Self { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
        let mut idx = 0;
        while idx < 8 {
            let (rows, row_bytes) = tiles[idx];
            assert!(rows >= 1 && rows <= ROWS && row_bytes >= 1 && row_bytes <= ROW_BYTES);
            shapes.rows[idx] = rows as u8;
            shapes.row_bytes[idx] = row_bytes as u16;
            idx += 1;
        }
        shapes
    }

    /// Gives this thread's tiles these shapes; what they hold becomes zero.
    ///
    /// # Safety
    /// The machine has AMX and the process may use it.
    #[inline(always)]
    pub(crate) unsafe fn load(&self) {
        // SAFETY: 64 bytes that describe legal shapes, by `new`; AMX by this function's contract.
        unsafe { std::arch::asm!("ldtilecfg [{}]", in(reg) self, options(nostack, readonly)) };
    }
}

/// Leaves this thread's tiles unshaped, so that nobody saves them when threads change places.
///
/// # Safety
/// The machine has AMX and the process may use it.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) unsafe fn release() {
    // SAFETY: AMX by this function's contract.
    unsafe { std::arch::asm!("tilerelease", options(nostack, nomem)) };
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod linux {
    use std::arch::asm;
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    use std::sync::OnceLock;

    /// Whether the machine has AMX for `bf16` and the system lets this process use it (Linux 5.16 or later).
    pub(crate) fn is_available() -> bool {
        static AVAILABLE: OnceLock<bool> = OnceLock::new();
        *AVAILABLE.get_or_init(|| has_tiles() && permitted())
    }

    /// CPUID leaf 7: EDX bit 22 `bf16`, bit 24 tiles, bit 25 `int8`.
    fn has_tiles() -> bool {
        if __cpuid(0).eax < 7 {
            return false;
        }
        let wanted = 1 << 22 | 1 << 24 | 1 << 25;
        __cpuid_count(7, 0).edx & wanted == wanted
    }

    /// Asks the system for the memory that saves the tiles of each thread: `arch_prctl(ARCH_REQ_XCOMP_PERM, XTILEDATA)`.
    fn permitted() -> bool {
        const ARCH_PRCTL: i64 = 158;
        const ARCH_REQ_XCOMP_PERM: i64 = 0x1023;
        const XTILEDATA: i64 = 18;
        let result: i64;
        // SAFETY: the call takes two numbers and touches no memory of this program; a kernel that does not know it answers
        // with an error.
        unsafe {
            asm!(
                "syscall",
                inlateout("rax") ARCH_PRCTL => result,
                in("rdi") ARCH_REQ_XCOMP_PERM,
                in("rsi") XTILEDATA,
                lateout("rcx") _,
                lateout("r11") _,
                options(nostack)
            );
        }
        result == 0
    }
}
