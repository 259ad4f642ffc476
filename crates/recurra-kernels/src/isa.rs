//! Instruction sets: what this machine has, and which one was asked for.

use std::fmt;

/// An instruction set that kernels are compiled for. Ordered: a later one is faster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// Whatever the compiler makes of plain loops; every machine has it.
    Plain,
    /// Four lanes of `f32` on 64-bit ARM.
    Neon,
    /// Eight lanes of `f32` with fused multiply-add on x86-64.
    Avx2,
    /// Sixteen lanes of `f32` with masks on x86-64.
    Avx512,
}

/// Why an instruction set cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IsaError {
    /// `RECURRA_ISA` holds a word that names no instruction set.
    #[error("`RECURRA_ISA` is `{found}`; expected one of {}", names(&Isa::ALL))]
    Unknown {
        /// The word found.
        found: String,
    },
    /// `RECURRA_ISA` names an instruction set that this machine lacks.
    #[error("`RECURRA_ISA` asks for `{asked}`, which this machine lacks; it has {}", names(&Isa::available()))]
    Lacking {
        /// The instruction set asked for.
        asked: Isa,
    },
}

fn names(sets: &[Isa]) -> String {
    sets.iter().map(|isa| format!("`{isa}`")).collect::<Vec<_>>().join(", ")
}

impl Isa {
    /// Every instruction set, slowest first.
    pub const ALL: [Isa; 4] = [Isa::Plain, Isa::Neon, Isa::Avx2, Isa::Avx512];

    /// Whether this machine can run it.
    pub fn is_available(self) -> bool {
        match self {
            Isa::Plain => true,
            Isa::Neon => cfg!(target_arch = "aarch64"),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => {
                Isa::Avx2.is_available()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx2 | Isa::Avx512 => false,
        }
    }

    /// Those this machine can run, slowest first.
    pub fn available() -> Vec<Isa> {
        Isa::ALL.into_iter().filter(|isa| isa.is_available()).collect()
    }

    /// The fastest this machine can run.
    pub fn best() -> Isa {
        Isa::ALL.into_iter().rev().find(|isa| isa.is_available()).unwrap_or(Isa::Plain)
    }

    /// The one `RECURRA_ISA` names, or the best.
    ///
    /// # Errors
    /// When the variable holds an unknown word or a set that this machine lacks.
    pub fn chosen() -> Result<Isa, IsaError> {
        match std::env::var("RECURRA_ISA") {
            Ok(word) if !word.is_empty() => Isa::parse(&word),
            _ => Ok(Isa::best()),
        }
    }

    /// The available instruction set of that name.
    ///
    /// # Errors
    /// As [`Isa::chosen`].
    pub fn parse(word: &str) -> Result<Isa, IsaError> {
        let asked = Isa::ALL
            .into_iter()
            .find(|isa| isa.name() == word)
            .ok_or_else(|| IsaError::Unknown { found: word.to_string() })?;
        if asked.is_available() { Ok(asked) } else { Err(IsaError::Lacking { asked }) }
    }

    /// Its name in `RECURRA_ISA`, in reports and in file names.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Plain => "plain",
            Isa::Neon => "neon",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_machine_has_plain_and_the_best_is_available() {
        assert!(Isa::available().contains(&Isa::Plain));
        assert!(Isa::best().is_available());
    }

    #[test]
    fn an_unknown_word_lists_what_exists() {
        let error = Isa::parse("sse9").unwrap_err().to_string();
        assert!(error.contains("`sse9`") && error.contains("`avx2`"), "{error}");
    }

    #[test]
    fn a_lacking_set_lists_what_the_machine_has() {
        let Some(lacking) = Isa::ALL.into_iter().find(|isa| !isa.is_available()) else { return };
        let error = Isa::parse(lacking.name()).unwrap_err().to_string();
        assert!(error.contains(lacking.name()) && error.contains("`plain`"), "{error}");
    }
}
