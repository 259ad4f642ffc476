//! The loop, in whole arrays of lanes: integers only, which the compiler turns into vectors of the enabled instruction set.

use super::Prepared;

/// yᵢ = xᵢ · scale where the mask keeps position `start` + i, else 0, `LANES` at a time.
#[inline(always)]
pub fn apply<const LANES: usize>(mask: Prepared, start: u32, values: &mut [f32]) {
    let scale = mask.scale as f32;
    let mut position = start;
    let (whole, rest) = values.as_chunks_mut::<LANES>();
    for lanes in whole {
        for (lane, value) in lanes.iter_mut().enumerate() {
            let kept = *value * scale;
            *value = if mask.keeps(position.wrapping_add(lane as u32)) { kept } else { 0.0 };
        }
        position = position.wrapping_add(LANES as u32);
    }
    for (lane, value) in rest.iter_mut().enumerate() {
        let kept = *value * scale;
        *value = if mask.keeps(position.wrapping_add(lane as u32)) { kept } else { 0.0 };
    }
}
