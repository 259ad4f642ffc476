//! Each add-on against plain loops in `f64`; and what must stay as it is.

use recurra_checkpoint::weights_sha256;
use recurra_data::{Batch, Streams, Text};
use recurra_models::{CellKind, LanguageModel, Regularization};
use recurra_tensor::{Cpu, Isa, Parameters, Precision, Tape, Window};
use safetensors::SafeTensors;

use super::*;
use crate::Tuned;
use crate::fixture::{Fixture, TEXT};

const GO_ON: ControlFlow<()> = ControlFlow::Continue(());

/// Whether no weight lets what a cell hands up leave −1 to 1.
fn is_bounded(cell: CellKind) -> bool {
    matches!(cell, CellKind::Lstm | CellKind::Gru | CellKind::RnnTanh)
}

/// Two layers of every cell; those without bounds have the weights that they start with, or their logits are beyond all sense.
fn fixtures() -> impl Iterator<Item = (CellKind, Fixture)> {
    CellKind::ALL.into_iter().map(|cell| {
        let mut fixture = Fixture::new("char", cell, vec![9, 7]);
        if !is_bounded(cell) {
            let parameters = &mut fixture.saved.parameters;
            for id in parameters.ids() {
                parameters.value_mut(id).iter_mut().for_each(|value| *value *= 0.25);
            }
            fixture.saved.weights_sha256 = weights_sha256(parameters);
        }
        (cell, fixture)
    })
}

fn tokens(fixture: &Fixture, text: &str) -> TokenFile {
    let cache = tempfile::tempdir().unwrap();
    let text = Text::from_string("text", text.into());
    TokenFile::open_or_build(cache.path(), &text, &fixture.saved.tokenizer).unwrap()
}

fn ids_of(tokens: &TokenFile) -> Vec<u32> {
    let mut ids = vec![0; tokens.len()];
    tokens.read(0, &mut ids);
    ids
}

fn with_temperature(temperature: f64) -> AddOns {
    AddOns { temperature: Some(temperature), ..AddOns::default() }
}

fn with_cache(window: usize, theta: f64, lambda: f64) -> AddOns {
    AddOns { cache: Some(NeuralCache { window, theta, lambda }), ..AddOns::default() }
}

fn with_dynamic(segment: usize, learning_rate: f64, decay: f64) -> AddOns {
    let dynamic = DynamicEvaluation { segment, learning_rate, decay, epsilon: 1e-3 };
    AddOns { dynamic: Some(dynamic), ..AddOns::default() }
}

/// A rate at which dynamic evaluation helps. A cell without bounds grows without end at the rate of the others, or doubles what
/// was rounded away, in `f64` as well.
fn rate_of(cell: CellKind) -> f64 {
    if is_bounded(cell) { 0.003 } else { 0.000_03 }
}

/// All three.
fn with_all(cell: CellKind) -> AddOns {
    AddOns { temperature: Some(0.8), ..with_cache(50, 0.3, 0.2) }.and(with_dynamic(
        5,
        rate_of(cell),
        0.1,
    ))
}

impl AddOns {
    fn and(self, other: AddOns) -> AddOns {
        AddOns {
            temperature: self.temperature.or(other.temperature),
            cache: self.cache.or(other.cache),
            dynamic: self.dynamic.or(other.dynamic),
        }
    }
}

fn scored(fixture: &Fixture, tokens: &TokenFile, add_ons: &AddOns) -> Result<LanguageScore> {
    let mut evaluation = Evaluation::new(fixture.model());
    if let Some(dynamic) = add_ons.dynamic {
        evaluation.collect(tokens, dynamic.segment, &mut |_, _| GO_ON)?;
    }
    evaluation.score(tokens, add_ons, &mut |_, _| GO_ON)
}

#[track_caller]
fn assert_near(found: f64, expected: f64, what: &str) {
    assert!((found - expected).abs() < 2e-5 * expected.abs(), "{what}: {found}, not {expected}");
}

/// The network with its weights as `f64`.
fn wide(fixture: &Fixture) -> (LanguageModel, Parameters<f64>) {
    let mut parameters = Parameters::<f64>::new();
    let network = LanguageModel::new(&fixture.saved.config, &mut parameters).unwrap();
    for id in parameters.ids() {
        let values = fixture.saved.parameters.value(id).iter().map(|&x| f64::from(x));
        let values: Vec<f64> = values.collect();
        parameters.value_mut(id).copy_from_slice(&values);
    }
    (network, parameters)
}

/// What the output layer reads at each position, and its logits there.
fn hidden_and_logits(fixture: &Fixture, ids: &[u32]) -> Vec<(Vec<f64>, Vec<f64>)> {
    let (network, parameters) = wide(fixture);
    let (mut state, mut workspace) = (network.zero_state(1), Workspace::new());
    let mut found = Vec::new();
    for &id in &ids[..ids.len() - 1] {
        let mut tape = Tape::inference(&fixture.cpu, &parameters, &mut workspace);
        let mut before = state.clone();
        let logits = network.step(&mut tape, &[id], &mut state);
        let logits = tape.value(logits).to_vec();
        let mut tape = Tape::inference(&fixture.cpu, &parameters, &mut workspace);
        let window = Window { time: 1, batch: 1 };
        let hidden = network.read(&mut tape, &[id], window, &mut before);
        found.push((tape.value(hidden).to_vec(), logits));
    }
    found
}

fn log_softmax(logits: &[f64], token: u32, temperature: f64) -> f64 {
    let largest = logits.iter().copied().fold(f64::MIN, f64::max);
    let above = |x: f64| (x - largest) / temperature;
    above(logits[token as usize]) - logits.iter().map(|&x| above(x).exp()).sum::<f64>().ln()
}

#[test]
fn a_temperature_is_that_of_the_logits() {
    for (cell, fixture) in fixtures() {
        let tokens = tokens(&fixture, &TEXT.repeat(9));
        let ids = ids_of(&tokens);
        let positions = hidden_and_logits(&fixture, &ids);
        for temperature in [0.7, 1.0, 1.4] {
            let nats = positions.iter().zip(&ids[1..]);
            let expected: f64 =
                nats.map(|((_, logits), &id)| -log_softmax(logits, id, temperature)).sum();
            let score = scored(&fixture, &tokens, &with_temperature(temperature)).unwrap();
            assert_near(score.total_nats, expected, &format!("{cell} at {temperature}"));
            let part = (temperature != 1.0).then(|| temperature.to_string());
            assert_eq!(score.signature.temperature, part);
        }
    }
}

#[test]
fn a_cache_is_its_formula() {
    for (cell, fixture) in fixtures() {
        let tokens = tokens(&fixture, &TEXT.repeat(12));
        let ids = ids_of(&tokens);
        let positions = hidden_and_logits(&fixture, &ids);
        let settings = [(1, 1.0, 0.3), (7, 0.0, 0.1), (130, 0.5, 0.2), (5000, 2.0, 0.9)];
        for (window, theta, lambda) in settings {
            let mut expected = 0.0;
            for (at, (hidden, logits)) in positions.iter().enumerate() {
                let target = ids[at + 1];
                let model = log_softmax(logits, target, 1.0).exp();
                let past = at.saturating_sub(window)..at;
                let products: Vec<f64> = positions[past.clone()]
                    .iter()
                    .map(|(then, _)| {
                        theta * hidden.iter().zip(then).map(|(a, b)| a * b).sum::<f64>()
                    })
                    .collect();
                let largest = products.iter().copied().fold(f64::MIN, f64::max);
                let (mut all, mut hits) = (0.0, 0.0);
                for (product, next) in products.iter().zip(&ids[past.start + 1..]) {
                    let weight = (product - largest).exp();
                    all += weight;
                    hits += if *next == target { weight } else { 0.0 };
                }
                let p = if at == 0 { model } else { (1.0 - lambda) * model + lambda * hits / all };
                expected -= p.ln();
            }
            let score = scored(&fixture, &tokens, &with_cache(window, theta, lambda)).unwrap();
            let what = format!("{cell}, W {window}, θ {theta}, λ {lambda}");
            assert_near(score.total_nats, expected, &what);
            assert_eq!(score.signature.cache, Some(format!("{window},{theta},{lambda}")));
        }
    }
}

/// The published program in `f64`, with a tape whose kernels are plain loops.
fn dynamic_nats(fixture: &Fixture, tokens: &TokenFile, options: DynamicEvaluation) -> f64 {
    let DynamicEvaluation { segment, learning_rate, decay, epsilon } = options;
    let (network, mut parameters) = wide(fixture);
    let cpu = &fixture.cpu;
    let mut workspace = Workspace::new();
    let gradients = |parameters: &mut Parameters<f64>| -> Vec<Vec<f64>> {
        let all = parameters.ids().map(|id| parameters.gradient(id).unwrap().to_vec()).collect();
        parameters.clear_gradients();
        all
    };
    let streams =
        Streams::new(tokens.clone(), 100.min((tokens.len() - 1) / segment), segment).unwrap();
    let mut batch = Batch::default();
    streams.window(0, &mut batch);
    let mut state = network.zero_state(batch.batch);
    let mut roots: Vec<Vec<f64>> =
        parameters.ids().map(|id| vec![0.0; parameters.value(id).len()]).collect();
    for idx in 0..streams.windows_per_epoch() {
        streams.window(idx, &mut batch);
        let window = Window { time: batch.time, batch: batch.batch };
        let mut tape = Tape::training(cpu, &mut parameters, &mut workspace, 0);
        let loss = network.loss(&mut tape, &batch.inputs, &batch.targets, window, &mut state);
        tape.backward(loss);
        for (root, gradient) in roots.iter_mut().zip(gradients(&mut parameters)) {
            root.iter_mut().zip(gradient).for_each(|(root, g)| *root += g * g);
        }
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    for root in roots.iter_mut().flatten() {
        *root = (*root / streams.windows_per_epoch() as f64).sqrt();
    }
    let means: Vec<f64> = roots.iter().map(|root| mean(root)).collect();
    let mean_root = mean(&means);
    let origin = parameters.clone();
    let (ids, mut state, mut nats) = (ids_of(tokens), network.zero_state(1), 0.0);
    for start in (0..ids.len() - 1).step_by(segment) {
        let end = (ids.len() - 1).min(start + segment);
        let window = Window { time: end - start, batch: 1 };
        let mut tape = Tape::training(cpu, &mut parameters, &mut workspace, 0);
        let (inputs, targets) = (&ids[start..end], &ids[start + 1..=end]);
        let loss = network.loss(&mut tape, inputs, targets, window, &mut state);
        nats += tape.loss(loss) * window.time as f64;
        tape.backward(loss);
        let gradients = gradients(&mut parameters);
        for ((id, gradient), root) in parameters.ids().zip(gradients).zip(&roots) {
            let values = parameters.value_mut(id).iter_mut().zip(origin.value(id));
            for (((x, x0), g), r) in values.zip(gradient).zip(root) {
                let back = (r / mean_root).min(1.0 / decay) * decay * (x0 - *x);
                *x += back - learning_rate * g / (r + epsilon);
            }
        }
    }
    nats
}

#[test]
fn dynamic_evaluation_is_its_formula() {
    for ((cell, fixture), segment) in fixtures().zip([20, 5, 1].into_iter().cycle()) {
        let rate = rate_of(cell);
        let tokens = tokens(&fixture, &TEXT.repeat(9));
        let plain = scored(&fixture, &tokens, &AddOns::default()).unwrap().total_nats;
        let add_ons = with_dynamic(segment, rate, 0.1);
        let score = scored(&fixture, &tokens, &add_ons).unwrap();
        let expected = dynamic_nats(&fixture, &tokens, add_ons.dynamic.unwrap());
        let error = (score.total_nats / expected - 1.0).abs();
        assert!(error < 3e-4, "{cell}: {}, not {expected}", score.total_nats);
        assert!(score.total_nats < plain, "{cell}: {} of {plain}", score.total_nats);
        let statistics = &tokens.text_sha256()[..16];
        let part = format!("rms,{segment},{rate},0.1,0.001,{statistics}");
        assert_eq!(score.signature.dynamic, Some(part));
    }
}

/// The numbers of `golden/dynamic_evaluation.py`; with operands rounded to `bf16` within 1 %.
#[test]
fn dynamic_evaluation_is_that_of_pytorch() {
    let golden = include_bytes!("../../../../../golden/dynamic_evaluation.safetensors");
    let golden = SafeTensors::deserialize(golden).unwrap();
    let values = |name: &str| -> Vec<f32> {
        let (words, _) = golden.tensor(name).unwrap().data().as_chunks::<4>();
        words.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
    };
    let text =
        |name: &str| values(name).iter().map(|&byte| char::from(byte as u8)).collect::<String>();
    let mut fixture = Fixture::new("byte", CellKind::Lstm, vec![7, 7]);
    let parameters = &mut fixture.saved.parameters;
    for id in parameters.ids() {
        let golden = values(parameters.name(id));
        parameters.value_mut(id).copy_from_slice(&golden);
    }
    let expected: f64 = values("nats").iter().map(|&nats| f64::from(nats)).sum();
    for isa in Isa::available() {
        fixture.cpu = Cpu::with_isa(isa, 2);
        let [train, text] = ["train", "text"].map(|name| tokens(&fixture, &text(name)));
        let mut evaluation = Evaluation::new(fixture.model());
        evaluation.collect(&train, 5, &mut |_, _| GO_ON).unwrap();
        let dynamic =
            Some(DynamicEvaluation { segment: 5, learning_rate: 1e-3, decay: 2e-2, epsilon: 1e-4 });
        let add_ons = AddOns { dynamic, ..AddOns::default() };
        let found = evaluation.score(&text, &add_ons, &mut |_, _| GO_ON).unwrap().total_nats;
        let tolerance = if isa.precision() == Precision::F32 { 1e-5 } else { 1e-2 };
        assert!(
            (found / expected - 1.0).abs() < tolerance,
            "{isa}: {found}, PyTorch has {expected}"
        );
        let plain = evaluation.score(&text, &AddOns::default(), &mut |_, _| GO_ON).unwrap();
        assert!(found < 0.98 * plain.total_nats, "{isa}: {found} of {}", plain.total_nats);
    }
}

#[test]
fn what_does_nothing_leaves_every_bit() {
    for isa in Isa::available() {
        let mut fixture = Fixture::lstm("char");
        fixture.cpu = Cpu::with_isa(isa, 2);
        let tokens = tokens(&fixture, &TEXT.repeat(9));
        let nats =
            |add_ons: &AddOns| scored(&fixture, &tokens, add_ons).unwrap().total_nats.to_bits();
        let plain = nats(&AddOns::default());
        assert_eq!(nats(&with_temperature(1.0)), plain, "{isa}: temperature");
        assert_eq!(nats(&with_cache(30, 1.0, 0.0)), plain, "{isa}: cache");
        for segment in [1, 5, 20, 512] {
            assert_eq!(nats(&with_dynamic(segment, 0.0, 0.0)), plain, "{isa}: {segment}");
            assert_eq!(nats(&with_dynamic(segment, 0.0, 0.5)), plain, "{isa}: {segment}, decay");
        }
        let still = with_cache(30, 1.0, 0.3).and(with_dynamic(5, 0.0, 0.0));
        assert_eq!(nats(&still), nats(&with_cache(30, 1.0, 0.3)), "{isa}: cache of both");
    }
}

/// What a cell remembers goes from segment to segment as it goes from window to window.
#[test]
fn segments_of_any_length_score_the_same() {
    for (cell, mut fixture) in fixtures() {
        let tokens = tokens(&fixture, &TEXT.repeat(9));
        for isa in Isa::available() {
            fixture.cpu = Cpu::with_isa(isa, 2);
            let plain = scored(&fixture, &tokens, &AddOns::default()).unwrap().total_nats;
            let tolerance = if isa.precision() == Precision::F32 { 2e-5 } else { 1e-2 };
            for segment in [1, 5, 20, 512] {
                let score = scored(&fixture, &tokens, &with_dynamic(segment, 0.0, 0.5)).unwrap();
                let error = (score.total_nats / plain - 1.0).abs();
                let what = format!("{cell}, {isa}, segments of {segment}");
                assert!(error < tolerance, "{what}: {}, not {plain}", score.total_nats);
            }
        }
    }
}

/// Neither dropout nor penalties are in what a network learns from the text that it is scored on.
#[test]
fn what_only_training_does_to_a_network_changes_no_bit() {
    for (cell, mut fixture) in fixtures() {
        let tokens = tokens(&fixture, &TEXT.repeat(9));
        let plain = scored(&fixture, &tokens, &with_all(cell)).unwrap().total_nats;
        let config = &mut fixture.saved.config;
        config.dropout = 0.5;
        config.regularization = Regularization {
            word_dropout: Some(0.3),
            locked_dropout: Some(true),
            activation_penalty: Some(2.0),
            temporal_penalty: Some(1.0),
            ..Regularization::default()
        };
        if cell.options().contains(&"weight_dropout") {
            config.options.weight_dropout = Some(0.5);
        }
        if cell.options().contains(&"state_dropout") {
            config.options.state_dropout = Some(0.5);
        }
        fixture.saved.model = LanguageModel::new(config, &mut Parameters::<f32>::new()).unwrap();
        let found = scored(&fixture, &tokens, &with_all(cell)).unwrap().total_nats;
        assert_eq!(found.to_bits(), plain.to_bits(), "{cell}: {found}, not {plain}");
    }
}

#[test]
fn no_thread_changes_a_bit_and_nothing_changes_the_model() {
    for (cell, mut fixture) in fixtures() {
        let tokens = tokens(&fixture, &TEXT.repeat(9));
        for isa in Isa::available() {
            let nats = [1, 2, 3].map(|threads| {
                fixture.cpu = Cpu::with_isa(isa, threads);
                scored(&fixture, &tokens, &with_all(cell)).unwrap().total_nats.to_bits()
            });
            assert_eq!(nats, [nats[0]; 3], "{cell}, {isa}");
        }
        assert_eq!(weights_sha256(&fixture.saved.parameters), fixture.saved.weights_sha256);
    }
}

#[test]
fn a_second_score_begins_with_the_weights_of_the_model() {
    let fixture = Fixture::lstm("char");
    let tokens = tokens(&fixture, &TEXT.repeat(9));
    let mut evaluation = Evaluation::new(fixture.model());
    evaluation.collect(&tokens, 5, &mut |_, _| GO_ON).unwrap();
    let mut score =
        |add_ons: &AddOns| evaluation.score(&tokens, add_ons, &mut |_, _| GO_ON).unwrap();
    let first = score(&with_all(CellKind::Lstm));
    score(&with_dynamic(5, 0.5, 0.0));
    assert_eq!(score(&with_all(CellKind::Lstm)), first);
    assert_eq!(
        score(&AddOns::default()).total_nats,
        scored(&fixture, &tokens, &AddOns::default()).unwrap().total_nats
    );
}

#[test]
fn what_is_tuned_is_no_worse_than_what_it_began_with() {
    let fixture = Fixture::lstm("char");
    let tokens = tokens(&fixture, &TEXT.repeat(9));
    let mut evaluation = Evaluation::new(fixture.model());
    evaluation.collect(&tokens, 5, &mut |_, _| GO_ON).unwrap();
    let all = Tuned { temperature: true, cache: true, dynamic: true };
    let start = AddOns { cache: Some(NeuralCache::new(60)), ..with_dynamic(5, 1e-4, 1e-3) };
    for start in
        [with_temperature(1.0), with_cache(60, 1.0, 0.1), with_dynamic(5, 1e-4, 1e-3), start]
    {
        let tuned = evaluation.tune(&tokens, &start, all, &mut |_, _| GO_ON).unwrap();
        let mut nats =
            |add_ons| evaluation.score(&tokens, add_ons, &mut |_, _| GO_ON).unwrap().total_nats;
        assert!(nats(&tuned) < nats(&start), "{tuned:?}, begun with {start:?}");
        assert_eq!(tuned.cache.map(|cache| cache.window), start.cache.map(|cache| cache.window));
    }
    let nothing = evaluation.tune(&tokens, &start, Tuned::default(), &mut |_, _| GO_ON).unwrap();
    assert_eq!(nothing, start);
}

/// A temperature is chosen beside the cache that it will be used with.
#[test]
fn a_temperature_is_tuned_with_the_cache_that_is_given() {
    let fixture = Fixture::lstm("char");
    let tokens = tokens(&fixture, &TEXT.repeat(9));
    let mut evaluation = Evaluation::new(fixture.model());
    let cache = with_cache(60, 0.5, 0.6);
    let tuned = Tuned { temperature: true, ..Tuned::default() };
    let found = evaluation.tune(&tokens, &cache, tuned, &mut |_, _| GO_ON).unwrap();
    assert_eq!(found.cache, cache.cache);
    let mut nats = |temperature| {
        let add_ons = AddOns { temperature: Some(temperature), ..cache };
        evaluation.score(&tokens, &add_ons, &mut |_, _| GO_ON).unwrap().total_nats
    };
    let found = found.temperature.unwrap();
    let least = nats(found);
    for temperature in [found - 0.02, found + 0.02, 1.0].into_iter().filter(|t| *t <= 1.2) {
        assert!(least <= nats(temperature), "{found}, not {temperature}");
    }
}

#[test]
fn weights_that_dynamic_evaluation_loses_are_no_score_and_tuning_finds_a_lower_rate() {
    let fixture = Fixture::new("char", CellKind::RnnRelu, vec![9, 7]);
    let tokens = tokens(&fixture, &TEXT.repeat(9));
    let mut evaluation = Evaluation::new(fixture.model());
    evaluation.collect(&tokens, 5, &mut |_, _| GO_ON).unwrap();
    let wild = with_dynamic(5, 1.0, 0.0);
    let error = evaluation.score(&tokens, &wild, &mut |_, _| GO_ON).unwrap_err();
    assert!(matches!(error, Error::Lost { learning_rate: 1.0 }), "{error}");
    assert!(error.hint().unwrap().contains("lower η"), "{error}");
    let tuned = Tuned { dynamic: true, ..Tuned::default() };
    let found = evaluation.tune(&tokens, &wild, tuned, &mut |_, _| GO_ON).unwrap();
    let score = evaluation.score(&tokens, &found, &mut |_, _| GO_ON).unwrap();
    assert!(score.total_nats.is_finite(), "{found:?}");
}

#[test]
fn numbers_that_make_no_sense_are_refused() {
    let fixture = Fixture::lstm("char");
    let tokens = tokens(&fixture, TEXT);
    let epsilon = |epsilon| {
        let dynamic = DynamicEvaluation { epsilon, ..DynamicEvaluation::new(5) };
        AddOns { dynamic: Some(dynamic), ..AddOns::default() }
    };
    let bad = [
        with_temperature(0.0),
        with_temperature(f64::NAN),
        with_cache(0, 1.0, 0.1),
        with_cache(5, -1.0, 0.1),
        with_cache(5, 1.0, 1.0),
        with_cache(5, f64::NAN, 0.1),
        with_dynamic(0, 0.1, 0.1),
        with_dynamic(513, 0.1, 0.1),
        with_dynamic(5, -0.1, 0.1),
        with_dynamic(5, 0.1, 2.0),
        epsilon(0.0),
        epsilon(1e-50),
        epsilon(f64::INFINITY),
    ];
    for add_ons in bad {
        let mut evaluation = Evaluation::new(fixture.model());
        let error = evaluation.score(&tokens, &add_ons, &mut |_, _| GO_ON).unwrap_err();
        assert!(matches!(error, Error::Setting { .. }), "{add_ons:?}: {error}");
        assert!(error.hint().is_some());
    }
}

#[test]
fn what_is_missing_is_said() {
    let fixture = Fixture::lstm("char");
    let long = tokens(&fixture, TEXT);
    let mut evaluation = Evaluation::new(fixture.model());
    let dynamic = with_dynamic(5, 0.1, 0.1);
    let error = evaluation.score(&long, &dynamic, &mut |_, _| GO_ON).unwrap_err();
    assert!(matches!(error, Error::Statistics { segment: 5 }), "{error}");
    evaluation.collect(&long, 20, &mut |_, _| GO_ON).unwrap();
    let error = evaluation.score(&long, &dynamic, &mut |_, _| GO_ON).unwrap_err();
    assert!(matches!(error, Error::Statistics { segment: 5 }), "{error}");
    let error = evaluation.collect(&tokens(&fixture, "a"), 5, &mut |_, _| GO_ON).unwrap_err();
    assert!(matches!(error, Error::TooShort { tokens: 1 }), "{error}");
    // Two tokens are enough, and fewer than two for each of a hundred streams.
    evaluation.collect(&tokens(&fixture, "ab"), 20, &mut |_, _| GO_ON).unwrap();
    evaluation.collect(&tokens(&fixture, &TEXT.repeat(2)), 1, &mut |_, _| GO_ON).unwrap();
    let stop = &mut |_, _| ControlFlow::Break(());
    let error = evaluation.collect(&tokens(&fixture, &TEXT.repeat(9)), 1, stop).unwrap_err();
    assert!(matches!(error, Error::Stopped { done: 1, .. }), "{error}");
    let prepared = fixture.saved.model.prepare(
        &fixture.cpu,
        &fixture.saved.parameters,
        recurra_tensor::step::Storage::Int8,
    );
    let mut evaluation = Evaluation::new(fixture.model().with_prepared(&prepared));
    let hint = "leave the precision to be chosen";
    let error = evaluation.score(&long, &with_temperature(0.9), &mut |_, _| GO_ON).unwrap_err();
    assert_eq!(error.hint().unwrap(), hint);
    let tuned = Tuned { temperature: true, cache: true, dynamic: false };
    for start in [AddOns::default(), with_cache(60, 1.0, 0.1)] {
        let error = evaluation.tune(&long, &start, tuned, &mut |_, _| GO_ON).unwrap_err();
        assert_eq!(error.hint().unwrap(), hint, "{start:?}");
    }
}
