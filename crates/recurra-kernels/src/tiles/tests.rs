//! Tiles against their definition.

use super::layout::{self, Side, Source};
use super::{DEPTH, ROWS, TILE, reference};
use crate::{Isa, Precision};

#[test]
fn tiles_hold_what_their_definition_says_and_zero_beyond() {
    if Isa::available_in(Precision::Bf16).is_empty() {
        println!("this machine has no products of `bf16`: their tiles are not tested");
        return;
    }
    let values: Vec<f32> = (0..40 * 40).map(|idx| ((idx * 37 % 101) as f32 - 50.0) / 7.0).collect();
    for side in [Side::Left, Side::Right] {
        for n in [0, 1, 7, 15, ROWS] {
            for depth in [1, 2, 15, 16, 17, 31, DEPTH] {
                for (across, along) in [(40, 1), (1, 40)] {
                    let source = Source { first: values.as_ptr(), across, along, n, depth };
                    let expected =
                        reference::tile(side, &source, |i, k| values[i * across + k * along]);
                    let mut found = [f32::NAN; TILE];
                    // SAFETY: the machine has AVX-512 with `bf16`; 40 × 40 values hold every source, and `found` a tile.
                    unsafe { layout::tile(side, &source, found.as_mut_ptr()) };
                    let found: Vec<u16> = found
                        .iter()
                        .flat_map(|pair| [pair.to_bits() as u16, (pair.to_bits() >> 16) as u16])
                        .collect();
                    assert!(
                        found == expected,
                        "{side:?} {n} × {depth}, {across} and {along} apart"
                    );
                }
            }
        }
    }
}

#[test]
fn numbers_are_rounded_to_the_nearest_and_ties_to_even() {
    for (x, expected) in
        [(1.0, 0x3f80), (-2.5, 0xc020), (1.003_906_3, 0x3f80), (1.011_718_8, 0x3f82), (0.0, 0)]
    {
        assert_eq!(reference::to_bf16(x), expected, "{x}");
    }
}
