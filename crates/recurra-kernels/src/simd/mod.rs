//! Vectors of `f32`: one trait, one file an instruction set, so that a kernel's loop is written once.
//!
//! A kernel writes its loop as `#[inline(always)] unsafe fn name<V: Vector>(…)` in `vector.rs` and instantiates it in
//! `avx2.rs`, `avx512.rs`, `neon.rs` and `plain.rs` inside a function with the right `#[target_feature]`.

mod vector;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub mod math;
#[cfg(target_arch = "aarch64")]
mod neon;
mod plain;
#[cfg(target_arch = "x86_64")]
mod quick;

#[cfg(target_arch = "x86_64")]
pub use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub use avx512::Avx512;
#[cfg(target_arch = "aarch64")]
pub use neon::Neon;
pub use plain::Plain;
#[cfg(target_arch = "x86_64")]
pub(crate) use quick::Quick;
pub use vector::Vector;

#[cfg(test)]
mod tests;
