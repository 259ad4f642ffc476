//! Instruction sets: what this machine has, and which one was asked for.

use std::fmt;

use crate::tiles::amx;

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
    /// AVX-512 with products of pairs of `bf16` (Zen 4, Cooper Lake and later): operands of products rounded, summed in `f32`.
    Avx512Bf16,
    /// The matrix unit of newer Xeons: products of operands rounded to `bf16`, summed in `f32`; AVX-512 for the rest.
    Amx,
}

/// How numbers go into a product; sums, states, losses and weights are `f32` always.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Precision {
    /// As they are: 24 bits of mantissa.
    F32,
    /// Rounded to the nearest of 8 bits of mantissa, with the range of `f32`.
    Bf16,
}

impl Precision {
    /// Its name in flags, scores and reports.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
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
    /// No instruction set of this machine multiplies in the precision asked for.
    #[error("`{asked}` needs {}, which this machine lacks; it has {}", names(&Isa::of(*asked)), names(&Isa::available()))]
    NoPrecision {
        /// The precision asked for.
        asked: Precision,
    },
    /// `RECURRA_ISA` names an instruction set that multiplies in another precision than the one asked for.
    #[error("`RECURRA_ISA` asks for `{isa}`, which multiplies in `{}`; `{asked}` was asked for as well", isa.precision())]
    OtherPrecision {
        /// The instruction set asked for.
        isa: Isa,
        /// The precision asked for.
        asked: Precision,
    },
}

impl IsaError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            IsaError::NoPrecision { .. } => {
                "leave the precision to be chosen: the fastest that is here is used"
            }
            IsaError::Unknown { .. } | IsaError::Lacking { .. } => {
                "unset RECURRA_ISA, or set it to an instruction set that `recurra doctor` lists"
            }
            IsaError::OtherPrecision { .. } => {
                "unset RECURRA_ISA, or leave the precision to be chosen"
            }
        }
    }
}

fn names(sets: &[Isa]) -> String {
    sets.iter().map(|isa| format!("`{isa}`")).collect::<Vec<_>>().join(", ")
}

impl Isa {
    /// Every instruction set, slowest first.
    pub const ALL: [Isa; 6] =
        [Isa::Plain, Isa::Neon, Isa::Avx2, Isa::Avx512, Isa::Avx512Bf16, Isa::Amx];

    /// In which precision it multiplies.
    pub fn precision(self) -> Precision {
        match self {
            Isa::Avx512Bf16 | Isa::Amx => Precision::Bf16,
            Isa::Plain | Isa::Neon | Isa::Avx2 | Isa::Avx512 => Precision::F32,
        }
    }

    /// Every instruction set of that precision, slowest first.
    fn of(precision: Precision) -> Vec<Isa> {
        Isa::ALL.into_iter().filter(|isa| isa.precision() == precision).collect()
    }

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
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Bf16 => Isa::Avx512.is_available() && is_x86_feature_detected!("avx512bf16"),
            Isa::Amx => Isa::Avx512Bf16.is_available() && amx::is_available(),
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx2 | Isa::Avx512 | Isa::Avx512Bf16 => false,
        }
    }

    /// Those this machine can run, slowest first.
    pub fn available() -> Vec<Isa> {
        Isa::ALL.into_iter().filter(|isa| isa.is_available()).collect()
    }

    /// Those this machine can run that multiply in `precision`, slowest first.
    pub fn available_in(precision: Precision) -> Vec<Isa> {
        Isa::of(precision).into_iter().filter(|isa| isa.is_available()).collect()
    }

    /// The fastest this machine can run, of one precision or of any.
    pub fn best(precision: Option<Precision>) -> Option<Isa> {
        let fits = |isa: &Isa| precision.is_none_or(|asked| isa.precision() == asked);
        Isa::available().into_iter().rfind(fits)
    }

    /// The one `RECURRA_ISA` names, or the best; of one precision, or of the one that is fastest here.
    ///
    /// # Errors
    /// When the variable holds an unknown word or a set that this machine lacks, or when the precision cannot be had.
    pub fn chosen(precision: Option<Precision>) -> Result<Isa, IsaError> {
        let isa = match std::env::var("RECURRA_ISA") {
            Ok(word) if !word.is_empty() => Some(Isa::parse(&word)?),
            _ => Isa::best(precision),
        };
        match (isa, precision) {
            (Some(isa), Some(asked)) if isa.precision() != asked => {
                Err(IsaError::OtherPrecision { isa, asked })
            }
            (None, Some(asked)) => Err(IsaError::NoPrecision { asked }),
            (isa, _) => Ok(isa.unwrap_or(Isa::Plain)),
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
            Isa::Avx512Bf16 => "avx512bf16",
            Isa::Amx => "amx",
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Does something with the file of an instruction set, whichever it is: `by_isa!(isa, self::file => &file::LOOPS)` for those of
/// this folder, `super::file` for those of the one above. Where products are of `bf16` it is the file of AVX-512, or what is said
/// after it.
macro_rules! by_isa {
    ($isa:expr, $folder:ident::$file:ident => $do:expr) => {
        $crate::isa::by_isa!($isa, $folder::$file => $do, bf16 => {
            use $folder::avx512 as $file;
            $do
        })
    };
    ($isa:expr, $folder:ident::$file:ident => $do:expr, bf16 => $bf16:expr) => {
        match $isa {
            #[cfg(target_arch = "x86_64")]
            $crate::Isa::Amx | $crate::Isa::Avx512Bf16 => $bf16,
            #[cfg(target_arch = "x86_64")]
            $crate::Isa::Avx512 => {
                use $folder::avx512 as $file;
                $do
            }
            #[cfg(target_arch = "x86_64")]
            $crate::Isa::Avx2 => {
                use $folder::avx2 as $file;
                $do
            }
            #[cfg(target_arch = "aarch64")]
            $crate::Isa::Neon => {
                use $folder::neon as $file;
                $do
            }
            _ => {
                use $folder::plain as $file;
                $do
            }
        }
    };
}

pub(crate) use by_isa;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_machine_has_plain_and_the_best_is_available() {
        assert!(Isa::available().contains(&Isa::Plain));
        assert!(Isa::best(None).is_some_and(Isa::is_available));
        assert_eq!(Isa::best(Some(Precision::F32)).map(Isa::precision), Some(Precision::F32));
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
