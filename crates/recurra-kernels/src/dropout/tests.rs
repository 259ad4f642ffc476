//! Masks are equal everywhere, keep as many as asked, and do not resemble one another.

use super::*;

fn mask_of(cpu: &Cpu, key: u64, keep: f32, n: usize) -> Vec<bool> {
    let mut values = vec![1.0_f32; n];
    apply(cpu, Mask { key, keep }, 0, &mut values);
    values.iter().map(|&x| x != 0.0).collect()
}

#[test]
fn every_instruction_set_and_number_of_threads_gives_the_plain_loop() {
    for n in [0, 1, 15, 16, 17, 63, 64, 65, 1000, BLOCK - 1, BLOCK + 1, 3 * BLOCK + 37] {
        let mask = Mask { key: 7 + n as u64, keep: 0.6 };
        let input: Vec<f32> = (0..n).map(|i| (i as f32 + 0.3).sin()).collect();
        let mut expected = input.clone();
        reference::apply(mask.prepare(), 0, &mut expected);
        let mut wide: Vec<f64> = input.iter().map(|&x| f64::from(x)).collect();
        apply(&Cpu::with_isa(Isa::Plain, 2), mask, 0, &mut wide);
        for isa in Isa::available() {
            for threads in 1..=3 {
                let mut got = input.clone();
                apply(&Cpu::with_isa(isa, threads), mask, 0, &mut got);
                assert_eq!(got, expected, "{isa}, {threads} threads, {n} values");
                let mut copy = vec![f32::NAN; n];
                apply_to(&Cpu::with_isa(isa, threads), mask, 0, &input, &mut copy);
                assert_eq!(copy, expected, "{isa}, {threads} threads, {n} values, elsewhere");
            }
        }
        for ((&x, &y), &wide) in input.iter().zip(&expected).zip(&wide) {
            assert!(y == 0.0 || (y - x / 0.6).abs() < 1e-6 * x.abs().max(1e-6), "{x} became {y}");
            assert_eq!(y == 0.0, wide == 0.0, "`f64` has the same mask");
        }
    }
}

#[test]
fn a_mask_that_keeps_everything_changes_nothing() {
    let (values, mask) = ([1.5_f32, -0.0, f32::INFINITY], Mask { key: 1, keep: 1.0 });
    for isa in Isa::available() {
        let cpu = Cpu::with_isa(isa, 1);
        let (mut kept, mut copy) = (values, [f32::NAN; 3]);
        apply(&cpu, mask, 0, &mut kept);
        apply_to(&cpu, mask, 0, &values, &mut copy);
        for got in [kept, copy] {
            assert_eq!(got.map(f32::to_bits), values.map(f32::to_bits), "{isa}");
        }
    }
}

/// How far `count` of `n` lies from the rate `p`, in standard deviations of a fair draw.
fn deviations(count: usize, n: usize, p: f64) -> f64 {
    (count as f64 - n as f64 * p) / (n as f64 * p * (1.0 - p)).sqrt()
}

#[test]
fn the_kept_share_is_what_was_asked() {
    let cpu = Cpu::with_isa(Isa::best(None).unwrap(), 1);
    for keep in [0.05, 0.2, 0.5, 0.65, 0.8, 0.99] {
        for key in [0, 1, 2, 3, u64::MAX, 1 << 32, 1 << 63] {
            let kept = mask_of(&cpu, key, keep, 200_000).into_iter().filter(|&kept| kept).count();
            let z = deviations(kept, 200_000, f64::from(keep));
            assert!(z.abs() < 4.5, "keep {keep}, key {key}: {kept} kept, {z:.1} deviations off");
        }
    }
}

/// Over `n` positions two masks at rate 1/2 agree as often as two coins.
#[track_caller]
fn check_unrelated(a: &[bool], b: &[bool], what: &str) {
    let agree = a.iter().zip(b).filter(|(a, b)| a == b).count();
    let z = deviations(agree, a.len().min(b.len()), 0.5);
    assert!(z.abs() < 4.5, "{what}: {agree} of {} agree, {z:.1} deviations off", a.len());
}

#[test]
fn masks_of_neighbouring_keys_are_unrelated() {
    let cpu = Cpu::with_isa(Isa::best(None).unwrap(), 1);
    for key in 0..64_u64 {
        let a = mask_of(&cpu, key, 0.5, 50_000);
        check_unrelated(&a, &mask_of(&cpu, key + 1, 0.5, 50_000), "key and key + 1");
        check_unrelated(&a, &mask_of(&cpu, key ^ (1 << 40), 0.5, 50_000), "a high bit");
        for shift in [1, 2, 16, 200, 650, 1024] {
            check_unrelated(&a[shift..], &a[..a.len() - shift], "a mask and itself later");
        }
    }
}

#[test]
fn one_position_over_many_keys_is_a_fair_coin() {
    let cpu = Cpu::with_isa(Isa::best(None).unwrap(), 1);
    let mut kept = [0_usize; 32];
    for key in 0..20_000 {
        for (count, keeps) in kept.iter_mut().zip(mask_of(&cpu, key, 0.5, 32)) {
            *count += usize::from(keeps);
        }
    }
    for (position, count) in kept.into_iter().enumerate() {
        let z = deviations(count, 20_000, 0.5);
        assert!(z.abs() < 4.5, "position {position}: {count} of 20,000 kept");
    }
}

#[test]
fn a_dropped_value_is_zero_whatever_it_was() {
    let mut values = [f32::NAN; 500];
    apply(&Cpu::with_isa(Isa::best(None).unwrap(), 1), Mask { key: 5, keep: 0.5 }, 0, &mut values);
    assert!(values.iter().any(|x| x.is_nan()) && values.contains(&0.0));
}

#[test]
#[should_panic(expected = "keep is 0; expected 0 < keep ≤ 1")]
fn keeping_none_is_refused() {
    apply(&Cpu::with_isa(Isa::Plain, 1), Mask { key: 1, keep: 0.0 }, 0, &mut [1.0_f32]);
}
