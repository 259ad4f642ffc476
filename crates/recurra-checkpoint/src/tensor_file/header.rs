//! The header of a safetensors file: parsed, and checked before anything in it is believed.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

/// The header: what the file says about itself, and its tensors in the order of their bytes.
#[derive(Debug, Default)]
pub(crate) struct Header {
    pub metadata: BTreeMap<String, String>,
    pub tensors: Vec<TensorInfo>,
}

/// What the header says about one tensor.
#[derive(Debug, Clone)]
pub(crate) struct TensorInfo {
    pub name: String,
    pub dtype: String,
    pub shape: Vec<usize>,
    /// First byte, counted from the end of the header.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

impl Header {
    /// Parses a header and checks that its tensors fill the bytes behind it one after the other, without a gap.
    ///
    /// # Errors
    /// What contradicts itself, with the name of the tensor.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Header, String> {
        let mut header: Header = serde_json::from_slice(bytes)
            .map_err(|error| format!("its header cannot be read: {error}"))?;
        header.tensors.sort_by(|a, b| (a.start, a.end, &a.name).cmp(&(b.start, b.end, &b.name)));
        header.check_names()?;
        header.check_places()?;
        Ok(header)
    }

    /// How many bytes of tensors there are.
    pub(crate) fn data_bytes(&self) -> u64 {
        self.tensors.last().map_or(0, |last| last.end)
    }

    fn check_names(&self) -> Result<(), String> {
        let mut names: Vec<_> = self.tensors.iter().map(|tensor| &tensor.name).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(format!("tensor `{}` stands in it twice", pair[0])),
            None => Ok(()),
        }
    }

    fn check_places(&self) -> Result<(), String> {
        let (mut before, mut expected_start) = ("the header", 0);
        for TensorInfo { name, dtype, shape, start, end } in &self.tensors {
            let wrong = if *start < expected_start {
                Some("overlaps")
            } else if *start > expected_start {
                Some("leaves a gap behind")
            } else {
                None
            };
            if let Some(wrong) = wrong {
                return Err(format!(
                    "tensor `{name}` at bytes {start} to {end} {wrong} `{before}`, which ends at {expected_start}"
                ));
            }
            if end < start {
                return Err(format!(
                    "tensor `{name}` ends at byte {end}, before its start at {start}"
                ));
            }
            // Other types are refused later, by name; so their lengths need no check.
            if dtype == "F32" {
                let n_values = shape.iter().try_fold(1u64, |n, &size| n.checked_mul(size as u64));
                let expected = n_values.and_then(|n| n.checked_mul(size_of::<f32>() as u64));
                if expected != Some(end - start) {
                    return Err(format!(
                        "tensor `{name}` of shape {shape:?} has {} bytes: expected {}",
                        end - start,
                        expected.map_or("more than there can be".into(), |bytes| bytes.to_string())
                    ));
                }
            }
            (before, expected_start) = (name, *end);
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Header, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

/// Reads the map entry by entry: a repeated name must be seen, which a map type would hide.
struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map from the names of tensors to their type, shape and place")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        #[derive(Deserialize)]
        struct Entry {
            dtype: String,
            shape: Vec<usize>,
            data_offsets: (u64, u64),
        }
        let mut header = Header::default();
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                header.metadata = map.next_value()?;
            } else {
                let Entry { dtype, shape, data_offsets: (start, end) } = map.next_value()?;
                header.tensors.push(TensorInfo { name, dtype, shape, start, end });
            }
        }
        Ok(header)
    }
}
