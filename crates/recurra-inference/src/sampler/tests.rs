//! Each step against a plain definition in `f64`, and draws against the probabilities they should have.

use super::*;

/// Logits without a pattern, some of them equal.
fn logits(n: usize, salt: u32) -> Vec<f32> {
    let bits = |i: u32| (i ^ salt.wrapping_mul(97)).wrapping_mul(2_654_435_761) >> 12;
    (0..n as u32).map(|i| (bits(i) % 1000) as f32 / 100.0 - 6.0).collect()
}

/// The probabilities that the settings leave, by the definitions, in `f64`.
fn defined(logits: &[f32], sampling: &Sampling, recent: &[u32]) -> Vec<f64> {
    let mut logits: Vec<f64> = logits.iter().map(|&x| f64::from(x)).collect();
    let start = recent.len().saturating_sub(sampling.repetition_window);
    for (id, logit) in logits.iter_mut().enumerate() {
        if recent[start..].contains(&(id as u32)) {
            let penalty = sampling.repetition_penalty;
            *logit *= if *logit > 0.0 { 1.0 / penalty } else { penalty };
        }
    }
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].partial_cmp(&logits[a]).unwrap().then(a.cmp(&b)));
    let softmax = |order: &[usize]| {
        let weights: Vec<f64> = order
            .iter()
            .map(|&id| ((logits[id] - logits[order[0]]) / sampling.temperature).exp())
            .collect();
        let total: f64 = weights.iter().sum();
        weights.into_iter().map(|weight| weight / total).collect::<Vec<_>>()
    };
    order.truncate(sampling.top_k.unwrap_or(usize::MAX));
    let mut share = 0.0;
    let enough = softmax(&order).iter().position(|p| {
        share += p;
        share >= sampling.top_p
    });
    if sampling.top_p < 1.0 {
        order.truncate(enough.map_or(usize::MAX, |last| last + 1));
    }
    let probabilities = softmax(&order);
    order.truncate(
        probabilities.iter().take_while(|&&p| p >= sampling.min_p * probabilities[0]).count(),
    );
    let mut all = vec![0.0; logits.len()];
    order.iter().zip(softmax(&order)).for_each(|(&id, p)| all[id] = p);
    all
}

fn recent_of(ids: &[u32]) -> Recent {
    let mut recent = Recent::default();
    ids.iter().for_each(|&id| recent.push(id, LARGEST_WINDOW));
    recent
}

/// The weights that a sampler draws from, of all `n` tokens.
fn weights_of(sampler: &Sampler, n: usize) -> Vec<f32> {
    if sampler.ids.is_empty() {
        return sampler.weights.clone();
    }
    let mut all = vec![0.0; n];
    for (&id, &weight) in sampler.ids.iter().zip(&sampler.weights) {
        all[id as usize] = weight;
    }
    all
}

/// The weights that a sampler draws from are the defined probabilities.
#[track_caller]
fn check(n: usize, sampling: Sampling, recent: &[u32]) {
    for salt in 0..20 {
        let logits = logits(n, salt);
        let expected = defined(&logits, &sampling, recent);
        let mut sampler = Sampler::new(sampling.clone()).unwrap();
        sampler.choose(&logits, &recent_of(recent), &mut Draws::new(1)).unwrap();
        let total = sum(&sampler.weights);
        for (id, (weight, &expected)) in
            weights_of(&sampler, n).into_iter().zip(&expected).enumerate()
        {
            let got = f64::from(weight) / total;
            let what = format!("{sampling:?}, {n} logits, salt {salt}, token {id}");
            assert_eq!(got > 0.0, expected > 0.0, "{what}: {got} for {expected}");
            assert!((got - expected).abs() < 1e-6, "{what}: {got} for {expected}");
        }
    }
}

fn plain() -> Sampling {
    Sampling::default()
}

#[test]
fn each_filter_leaves_what_its_definition_says() {
    for n in [1, 2, 5, 65, 1000] {
        for temperature in [0.3, 0.8, 1.0, 1.5, 10.0] {
            check(n, Sampling { temperature, top_k: Some(n), ..plain() }, &[]);
        }
        for k in [2, 3, 40, 999, 5000] {
            check(n, Sampling { top_k: Some(k), ..plain() }, &[]);
        }
        // Shares that no sum of these probabilities meets by the last digit.
        for top_p in [0.0123, 0.1017, 0.5003, 0.9011, 0.98987, 0.99923] {
            check(n, Sampling { top_p, ..plain() }, &[]);
        }
        for min_p in [0.0501, 0.3003, 1.0] {
            check(n, Sampling { min_p, ..plain() }, &[]);
        }
    }
}

#[test]
fn the_penalty_touches_each_recent_token_once() {
    let recent = [0, 3, 3, 3, 1, 64, 2];
    for (repetition_penalty, repetition_window) in [(1.3, 64), (1.3, 2), (0.7, 5), (2.0, 0)] {
        let top_k = Some(65);
        check(65, Sampling { repetition_penalty, repetition_window, top_k, ..plain() }, &recent);
    }
}

#[test]
fn filters_follow_one_another_in_the_stated_order() {
    let recent = [5, 7, 7, 40];
    for (temperature, top_k, top_p, min_p) in [
        (0.7, Some(20), 0.9013, 0.0501),
        (1.9, Some(50), 0.5007, 0.2001),
        (1.2, None, 0.95011, 0.01003),
    ] {
        let (repetition_penalty, repetition_window) = (1.2, 3);
        check(
            200,
            Sampling { temperature, top_k, top_p, min_p, repetition_penalty, repetition_window },
            &recent,
        );
    }
}

#[test]
fn ranks_order_as_logits_do() {
    let logits = [f32::NEG_INFINITY, -3e38, -2.0, -1e-40, 0.0, 1e-40, 1.0, 2.5, 3e38];
    assert!(logits.windows(2).all(|pair| rank(pair[0]) < rank(pair[1])));
    assert_eq!(rank(-0.0), rank(0.0));
}

#[test]
fn equal_logits_keep_the_lower_ids() {
    let mut sampler = Sampler::new(Sampling { top_k: Some(3), ..plain() }).unwrap();
    sampler.choose(&[1.0; 10], &Recent::default(), &mut Draws::new(1)).unwrap();
    assert_eq!(weights_of(&sampler, 10), [1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    let mut sampler = Sampler::new(Sampling { top_p: 0.45, ..plain() }).unwrap();
    sampler.choose(&[1.0; 10], &Recent::default(), &mut Draws::new(1)).unwrap();
    assert_eq!(sum(&sampler.weights[..5]), sum(&sampler.weights));
}

#[test]
fn greedy_takes_the_first_largest_and_draws_nothing() {
    let mut draws = Draws::new(1);
    let mut sampler = Sampler::new(Sampling::greedy()).unwrap();
    for n in [3, 16, 17, 40] {
        let mut logits = vec![-1.0; n];
        (logits[1], logits[n - 1]) = (2.0, 2.0);
        assert_eq!(sampler.choose(&logits, &Recent::default(), &mut draws).unwrap(), 1);
        logits[n - 1] = 2.5;
        assert_eq!(sampler.choose(&logits, &Recent::default(), &mut draws).unwrap(), n as u32 - 1);
    }
    assert_eq!(draws.count, 0);
    let mut sampler =
        Sampler::new(Sampling { repetition_penalty: 2.0, ..Sampling::greedy() }).unwrap();
    assert_eq!(sampler.choose(&[3.0, 2.0], &recent_of(&[0]), &mut draws).unwrap(), 1);
}

#[test]
fn tokens_come_as_often_as_their_probabilities_say() {
    let few = Sampling { temperature: 1.4, top_k: Some(9), ..plain() };
    let penalised = Sampling { repetition_penalty: 1.7, ..plain() };
    for sampling in [few, Sampling { temperature: 1.4, ..plain() }, penalised] {
        check_frequencies(sampling, &recent_of(&[3, 8]), &[3, 8]);
    }
}

fn check_frequencies(sampling: Sampling, recent: &Recent, ids: &[u32]) {
    let (logits, n) = (logits(12, 5), 40_000);
    let expected = defined(&logits, &sampling, ids);
    let (mut sampler, mut draws) = (Sampler::new(sampling).unwrap(), Draws::new(11));
    let mut counts = [0; 12];
    for _ in 0..n {
        counts[sampler.choose(&logits, recent, &mut draws).unwrap() as usize] += 1;
    }
    for (id, (&count, p)) in counts.iter().zip(expected).enumerate() {
        let (mean, deviation) = (f64::from(n) * p, (f64::from(n) * p * (1.0 - p)).sqrt());
        assert!(
            (f64::from(count) - mean).abs() <= 4.5 * deviation,
            "token {id}: {count} times, not {mean}"
        );
    }
}

#[test]
fn a_draw_depends_on_seed_and_count_alone() {
    let (mut first, mut all) = (Draws::new(3), Vec::new());
    all.extend((0..40).map(|_| first.unit()));
    for count in [0, 1, 7, 8, 31, 39] {
        assert_eq!(Draws { seed: 3, count }.unit(), all[count as usize]);
    }
    assert_ne!(Draws::new(4).unit(), all[0]);
    assert!(all.iter().all(|unit| (0.0..1.0).contains(unit)));
    // The words of one generator, in order.
    let mut generator = ChaCha8Rng::seed_from_u64(3);
    assert!(all.iter().all(|&unit| unit == (generator.next_u64() >> 11) as f64 / 2.0_f64.powi(53)));
}

#[test]
fn a_damaged_model_is_an_error() {
    let mut sampler = Sampler::new(plain()).unwrap();
    let infinite = [f32::NEG_INFINITY; 3];
    for bad in [&[0.0, f32::NAN][..], &[f32::INFINITY, 0.0], &infinite, &[]] {
        let chosen = sampler.choose(bad, &Recent::default(), &mut Draws::new(1));
        assert!(matches!(chosen, Err(Error::Logits)), "{bad:?}: {chosen:?}");
    }
    let masked = [f32::NEG_INFINITY, 1.0, f32::NEG_INFINITY];
    assert_eq!(sampler.choose(&masked, &Recent::default(), &mut Draws::new(1)).unwrap(), 1);
}

#[test]
fn settings_outside_their_range_are_named() {
    let cases: [(Sampling, &str); 8] = [
        (Sampling { temperature: -0.1, ..plain() }, "`temperature` is -0.1; expected 0 or more"),
        (Sampling { temperature: f64::NAN, ..plain() }, "`temperature` is NaN"),
        (Sampling { top_k: Some(0), ..plain() }, "`top-k` is 0; expected 1 or more"),
        (Sampling { top_p: 0.0, ..plain() }, "`top-p` is 0; expected more than 0, at most 1"),
        (Sampling { top_p: 1.5, ..plain() }, "`top-p` is 1.5"),
        (Sampling { min_p: 1.1, ..plain() }, "`min-p` is 1.1; expected 0 to 1"),
        (Sampling { repetition_penalty: 0.0, ..plain() }, "`repetition penalty` is 0"),
        (Sampling { repetition_window: 1 << 20, ..plain() }, "`repetition window` is 1048576"),
    ];
    for (sampling, expected) in cases {
        let error = sampling.check().unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.hint().is_some());
    }
}
