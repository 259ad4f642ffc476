//! A whole model: gradients, overfitting, carried state.

use recurra_layers::{CellKind, CellOptions};
use recurra_tensor::{Cpu, Method, Moments, Optimizer, Role, Step, Workspace, finite_differences};

use super::*;

const VOCAB: usize = 7;

const MUON: Optimizer = Optimizer::new(Method::Muon {
    momentum: 0.95,
    others: Moments { beta1: 0.9, beta2: 0.99, epsilon: 1e-8 },
});

fn config(cell: CellKind, tied: bool) -> LanguageModelConfig {
    let embed_size = if tied { 6 } else { 5 };
    LanguageModelConfig {
        cell,
        embed_size,
        hidden_sizes: vec![4, 6],
        tied,
        ..LanguageModelConfig::new(VOCAB)
    }
}

fn tokens(n: usize) -> Vec<u32> {
    let mut random = Random::new(3, 9);
    (0..n).map(|_| (random.unit() * VOCAB as f64) as u32).collect()
}

#[test]
fn gradients_of_every_model_equal_finite_differences() {
    let cpu = Cpu::new(2).unwrap();
    let window = Window { time: 4, batch: 3 };
    for (cell, tied) in CellKind::ALL.into_iter().flat_map(|cell| [(cell, false), (cell, true)]) {
        let mut parameters = Parameters::<f64>::new();
        let model = LanguageModel::new(&config(cell, tied), &mut parameters).unwrap();
        model.initialize(&mut parameters, 1);
        let ids = tokens(window.len() * 2);
        let mut workspace = Workspace::new();
        let error = finite_differences::largest_error(&mut parameters, 60, |parameters, learn| {
            let mut tape = Tape::training(&cpu, parameters, &mut workspace, 0);
            let mut state = model.zero_state(window.batch);
            let (inputs, targets) = ids.split_at(window.len());
            let loss = model.loss(&mut tape, inputs, targets, window, &mut state);
            if learn {
                tape.backward(loss);
            }
            tape.loss(loss)
        });
        // The norm of an embedding of 0.1 bends so much that differences are off by this; by a ninth of it with a third of the step.
        let begins_with_a_norm =
            matches!(cell, CellKind::Transformer | CellKind::Slstm | CellKind::Mlstm);
        let tolerance = if begins_with_a_norm { 2e-6 } else { 1e-7 };
        assert!(error < tolerance, "{cell} tied {tied}: {error:e}");
    }
}

/// With dropout the masks stay the same for the same key, so finite differences still apply.
#[test]
fn gradients_with_dropout_equal_finite_differences() {
    let plain = LanguageModelConfig { dropout: 0.4, ..config(CellKind::Lstm, false) };
    gradients_with_masks_equal_finite_differences(&plain);
}

/// What AWD-LSTM does (Merity et al. 2018), in each cell that has recurrent weights.
#[test]
fn gradients_with_all_kinds_of_dropout_equal_finite_differences() {
    let knows = |cell: &CellKind| cell.options().contains(&"weight_dropout");
    for cell in CellKind::ALL.into_iter().filter(knows) {
        let options = CellOptions { weight_dropout: Some(0.5), ..CellOptions::default() };
        let regularization = Regularization {
            word_dropout: Some(0.3),
            input_dropout: Some(0.4),
            layer_dropout: Some(0.2),
            output_dropout: Some(0.5),
            locked_dropout: Some(true),
            ..Regularization::default()
        };
        let base = LanguageModelConfig { tied: true, ..config(cell, false) };
        let config = LanguageModelConfig { options, regularization, ..base };
        gradients_with_masks_equal_finite_differences(&config);
    }
}

/// The penalties of AWD-LSTM (Merity et al. 2018): α·mean(h²) of what the last layer hands up after its dropout, β·mean((h_t −
/// h_{t−1})²) of it before, both before any projection to the width of the embedding.
#[test]
fn the_gradient_has_the_penalties_and_the_loss_has_not() {
    let (cpu, window) = (Cpu::new(1).unwrap(), Window { time: 3, batch: 4 });
    let (alpha, beta) = (2.0, 3.0);
    let ids = tokens(window.len() * 2);
    let (inputs, targets) = ids.split_at(window.len());
    for tied in [false, true] {
        let config = |regularization| {
            // Tied, the last layer is not as wide as the embedding.
            let base = LanguageModelConfig { tied, dropout: 0.3, ..config(CellKind::Lstm, false) };
            LanguageModelConfig { regularization, ..base }
        };
        let regularization = Regularization {
            activation_penalty: Some(alpha),
            temporal_penalty: Some(beta),
            ..Regularization::default()
        };
        let mut parameters = Parameters::<f64>::new();
        let model = LanguageModel::new(&config(regularization), &mut parameters).unwrap();
        model.initialize(&mut parameters, 1);
        let plain =
            LanguageModel::new(&config(Regularization::default()), &mut Parameters::<f64>::new())
                .unwrap();
        let mut workspace = Workspace::new();
        let error = finite_differences::largest_error(&mut parameters, 60, |parameters, learn| {
            let mut loss_of = |model: &LanguageModel, learn| {
                let mut tape = Tape::training(&cpu, parameters, &mut workspace, 77);
                let mut state = model.zero_state(window.batch);
                let loss = model.loss(&mut tape, inputs, targets, window, &mut state);
                if learn {
                    tape.backward(loss);
                }
                tape.loss(loss)
            };
            // On a training tape a loss leaves gradients, so only one is taken where they are looked at.
            if learn {
                return loss_of(&model, true);
            }
            let loss = loss_of(&plain, false);
            assert_eq!(loss_of(&model, learn).to_bits(), loss.to_bits());
            let mut tape = Tape::training(&cpu, parameters, &mut workspace, 77);
            let mut state = plain.zero_state(window.batch);
            let Top { hidden, dropped } = plain.top(&mut tape, inputs, window, &mut state);
            let dropped = tape.read(dropped);
            let (hidden, dropped) = (tape.value(hidden), tape.value(dropped));
            let mean = |squares: Vec<f64>| squares.iter().sum::<f64>() / squares.len() as f64;
            let activation = mean(dropped.iter().map(|h| h * h).collect());
            let step = hidden.len() / window.time;
            let pairs = hidden.iter().zip(&hidden[step..]);
            let temporal = mean(pairs.map(|(before, after)| (after - before).powi(2)).collect());
            loss + f64::from(alpha) * activation + f64::from(beta) * temporal
        });
        assert!(error < 1e-7, "tied {tied}: {error:e}");
    }
}

/// What Melis, Dyer and Blunsom (2018) do, in each cell that knows all of it.
#[test]
fn gradients_through_sums_of_layers_equal_finite_differences() {
    let knows = |cell: &CellKind| cell.options().contains(&"coupled");
    for cell in CellKind::ALL.into_iter().filter(knows) {
        let options = CellOptions {
            coupled: Some(true),
            state_dropout: Some(0.4),
            summed_outputs: Some(true),
            ..CellOptions::default()
        };
        let base = LanguageModelConfig { hidden_sizes: vec![5; 3], ..config(cell, false) };
        let config = LanguageModelConfig { options, dropout: 0.3, ..base };
        gradients_with_masks_equal_finite_differences(&config);
    }
}

/// Nothing is learned yet, so all tokens are about equally likely, also the one just read, whose vector a residual link hands to an
/// output layer that is tied to it.
#[test]
fn a_model_of_every_family_begins_undecided() {
    let cpu = Cpu::new(1).unwrap();
    let window = Window { time: 16, batch: 8 };
    let (vocab_size, width) = (1_000, 256);
    for (cell, tied) in CellKind::ALL.into_iter().flat_map(|cell| [(cell, false), (cell, true)]) {
        let mut parameters = Parameters::<f32>::new();
        let config = LanguageModelConfig {
            cell,
            embed_size: width,
            hidden_sizes: vec![width; 2],
            tied,
            ..LanguageModelConfig::new(vocab_size)
        };
        let model = LanguageModel::new(&config, &mut parameters).unwrap();
        model.initialize(&mut parameters, 1);
        let ids: Vec<u32> = (0..2 * window.len() as u32).map(|idx| idx * 379 % 1_000).collect();
        let (inputs, targets) = ids.split_at(window.len());
        let mut workspace = Workspace::new();
        let mut tape = Tape::training(&cpu, &mut parameters, &mut workspace, 0);
        let mut state = model.zero_state(window.batch);
        let loss = model.loss(&mut tape, inputs, targets, window, &mut state);
        let above = tape.loss(loss) - (vocab_size as f64).ln();
        assert!((-0.05..0.25).contains(&above), "{cell} tied {tied}: {above} nats above ln V");
    }
}

/// A last layer that hands up nothing leaves what the first one does.
#[test]
fn the_sum_of_layers_goes_to_the_output_layer() {
    let cpu = Cpu::new(1).unwrap();
    let window = Window { time: 3, batch: 2 };
    let ids = tokens(window.len());
    let mut workspace = Workspace::new();
    let mut read = |hidden_sizes: Vec<usize>, summed| {
        let mut parameters = Parameters::<f64>::new();
        let options = CellOptions { summed_outputs: summed, ..CellOptions::default() };
        let config = LanguageModelConfig { hidden_sizes, options, ..config(CellKind::Gru, false) };
        let model = LanguageModel::new(&config, &mut parameters).unwrap();
        model.initialize(&mut parameters, 1);
        for id in parameters.ids().collect::<Vec<_>>() {
            if parameters.name(id).ends_with("l1") {
                parameters.value_mut(id).fill(0.0);
            }
        }
        let mut tape = Tape::inference(&cpu, &parameters, &mut workspace);
        let hidden = model.read(&mut tape, &ids, window, &mut model.zero_state(window.batch));
        tape.value(hidden).to_vec()
    };
    let one = read(vec![6], None);
    assert_eq!(read(vec![6, 6], Some(true)), one);
    assert_ne!(read(vec![6, 6], None), one);
}

#[track_caller]
fn gradients_with_masks_equal_finite_differences(config: &LanguageModelConfig) {
    let cpu = Cpu::new(1).unwrap();
    let window = Window { time: 3, batch: 4 };
    let mut parameters = Parameters::<f64>::new();
    let model = LanguageModel::new(config, &mut parameters).unwrap();
    model.initialize(&mut parameters, 1);
    let ids = tokens(window.len() * 2);
    let mut workspace = Workspace::new();
    let error = finite_differences::largest_error(&mut parameters, 60, |parameters, learn| {
        let mut tape = Tape::training(&cpu, parameters, &mut workspace, 77);
        let mut state = model.zero_state(window.batch);
        let (inputs, targets) = ids.split_at(window.len());
        let loss = model.loss(&mut tape, inputs, targets, window, &mut state);
        if learn {
            tape.backward(loss);
        }
        tape.loss(loss)
    });
    assert!(error < 1e-7, "{error:e}");
}

/// One batch overfits, for every cell: the loss goes to nearly the 0.043 nats that are left where streams begin alike and go on otherwise.
#[test]
fn one_batch_overfits() {
    const STEPS: u64 = 400;
    let window = Window { time: 8, batch: 4 };
    let ids = tokens(window.len() * 2);
    let (inputs, targets) = ids.split_at(window.len());
    let optimizers = [Optimizer::ADAMW, MUON];
    for (cell, optimizer) in
        CellKind::ALL.into_iter().flat_map(|cell| optimizers.map(|of| (cell, of)))
    {
        let cpu = Cpu::new(2).unwrap();
        let mut parameters = Parameters::<f32>::new();
        let config = LanguageModelConfig { hidden_sizes: vec![64], ..config(cell, false) };
        let model = LanguageModel::new(&config, &mut parameters).unwrap();
        model.initialize(&mut parameters, 1);
        let mut workspace = Workspace::new();
        let mut nats = f64::INFINITY;
        for step in 1..=STEPS {
            let mut tape = Tape::training(&cpu, &mut parameters, &mut workspace, step);
            let loss =
                model.loss(&mut tape, inputs, targets, window, &mut model.zero_state(window.batch));
            nats = tape.loss(loss);
            tape.backward(loss);
            // A rate that goes down in the end: at a constant one, rounding alone decides where a Transformer stands at the end.
            let lr = 0.01 * (2.0 * (STEPS - step) as f64 / STEPS as f64).min(1.0);
            optimizer.step(&cpu, &mut parameters, step, lr, Some(1.0));
        }
        assert!(nats < 0.06, "{cell}, {optimizer:?}: {nats}");
    }
}

/// Reading in two windows with a carried state scores the same as reading in one.
#[test]
fn a_carried_state_is_all_a_model_needs_of_the_past() {
    let cpu = Cpu::new(2).unwrap();
    for cell in CellKind::ALL {
        let mut parameters = Parameters::<f64>::new();
        let model = LanguageModel::new(&config(cell, false), &mut parameters).unwrap();
        model.initialize(&mut parameters, 1);
        let ids = tokens(11);
        let mut workspace = Workspace::new();
        let mut score = |ids: &[u32], state: &mut State<f64>| {
            let mut tape = Tape::inference(&cpu, &parameters, &mut workspace);
            let window = Window { time: ids.len() - 1, batch: 1 };
            model.nats(&mut tape, &ids[..ids.len() - 1], &ids[1..], window, state)
        };
        let whole = score(&ids, &mut model.zero_state(1));
        let mut state = model.zero_state(1);
        let parts = score(&ids[..6], &mut state) + score(&ids[5..], &mut state);
        assert!((whole - parts).abs() < 1e-10, "{cell}: {whole} {parts}");
    }
}

/// The softmax of the logits of single steps gives the same score as the fused loss.
#[test]
fn single_steps_give_the_same_probabilities_as_a_window() {
    let cpu = Cpu::new(2).unwrap();
    for cell in CellKind::ALL {
        let mut parameters = Parameters::<f32>::new();
        let model = LanguageModel::new(&config(cell, true), &mut parameters).unwrap();
        model.initialize(&mut parameters, 1);
        let ids = tokens(20);
        let mut workspace = Workspace::new();
        let mut state = model.zero_state(1);
        let mut by_steps = 0.0;
        for pair in ids.windows(2) {
            let mut tape = Tape::inference(&cpu, &parameters, &mut workspace);
            let logits = model.step(&mut tape, &pair[..1], &mut state);
            let logits = tape.value(logits);
            let sum: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
            by_steps += sum.ln() - f64::from(logits[pair[1] as usize]);
        }
        let mut tape = Tape::inference(&cpu, &parameters, &mut workspace);
        let window = Window { time: 19, batch: 1 };
        let whole = model.nats(&mut tape, &ids[..19], &ids[1..], window, &mut model.zero_state(1));
        assert!((whole - by_steps).abs() < 1e-4 * whole, "{cell}: {whole} {by_steps}");
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    // So much that each family shares its work among threads.
    let window = Window { time: 7, batch: 12 };
    let ids = tokens(window.len() * 2);
    let (inputs, targets) = ids.split_at(window.len());
    let trained = |cell, optimizer: Optimizer, threads| {
        let cpu = Cpu::new(threads).unwrap();
        let mut parameters = Parameters::<f32>::new();
        let config =
            LanguageModelConfig { hidden_sizes: vec![163, 6], dropout: 0.3, ..config(cell, true) };
        let model = LanguageModel::new(&config, &mut parameters).unwrap();
        model.initialize(&mut parameters, 1);
        let mut workspace = Workspace::new();
        let mut state = model.zero_state(window.batch);
        for step in 1..=8 {
            let mut tape = Tape::training(&cpu, &mut parameters, &mut workspace, step);
            let loss = model.loss(&mut tape, inputs, targets, window, &mut state);
            tape.backward(loss);
            let average = Some(1.0 / step as f64);
            let step = Step { number: step, lr: 0.01, clip: Some(0.5), average };
            optimizer.make(&cpu, &mut parameters, &step);
        }
        let values = |id| [parameters.value(id), parameters.average(id)].concat();
        parameters.ids().map(values).collect::<Vec<_>>()
    };
    for cell in CellKind::ALL {
        for optimizer in [Optimizer::ADAMW, MUON] {
            let one = trained(cell, optimizer, 1);
            assert!(one == trained(cell, optimizer, 2), "{cell}, {optimizer:?}, two threads");
            assert!(one == trained(cell, optimizer, 3), "{cell}, {optimizer:?}, three threads");
        }
    }
}

/// Muon moves the gates of a layer each alone, and neither embedding nor output weight.
#[test]
fn gates_are_matrices_of_their_own_and_tables_are_none() {
    for (cell, parts) in [(CellKind::Lstm, 4), (CellKind::Gru, 3), (CellKind::RnnTanh, 1)] {
        let mut parameters = Parameters::<f32>::new();
        LanguageModel::new(&config(cell, false), &mut parameters).unwrap();
        for id in parameters.ids() {
            let name = parameters.name(id);
            let expected = match name {
                "embedding.weight" | "output.weight" => Role::Table,
                _ if name.contains("bias") => Role::Vector,
                _ => Role::Matrix { parts },
            };
            assert_eq!(parameters.role(id), expected, "{cell}: {name}");
        }
    }
}

/// Weight decay that spares vectors took the heads' weights of an sLSTM for vectors, and their biases for a matrix. The blocks of
/// four of an mLSTM are tables to optimizers, which decay them: Muon learns much more slowly where they are matrices.
#[test]
fn weights_of_heads_are_matrices_and_their_biases_are_none() {
    const VECTORS: [&str; 5] = ["bias", "norm", "conv", "skip", "weight_c"];
    const BLOCKS: [&str; 3] = ["mlstm.query", "mlstm.key", "mlstm.value"];
    for cell in CellKind::ALL {
        let mut parameters = Parameters::<f32>::new();
        LanguageModel::new(&config(cell, false), &mut parameters).unwrap();
        for id in parameters.ids() {
            let name = parameters.name(id);
            let is_vector = VECTORS.iter().any(|part| name.contains(part));
            assert_eq!(parameters.role(id) == Role::Vector, is_vector, "{cell}: {name}");
            if BLOCKS.iter().any(|part| name.contains(part)) {
                assert_eq!(parameters.role(id), Role::Table, "{cell}: {name}");
                continue;
            }
            if name.contains("mlstm.gates.") && !is_vector {
                assert_eq!(parameters.role(id), Role::Matrix { parts: 2 }, "{cell}: {name}");
            }
            if let (false, &[heads, rows, cols]) = (is_vector, parameters.shape(id)) {
                let parts = heads * rows / cols;
                assert_eq!(parameters.role(id), Role::Matrix { parts }, "{cell}: {name}");
            }
        }
    }
}

/// With zero weights, a bias from counts gives every token its frequency, or a power of it.
#[test]
fn counts_make_a_unigram_model() {
    let cpu = Cpu::new(1).unwrap();
    let mut parameters = Parameters::<f64>::new();
    let model = LanguageModel::new(&config(CellKind::Gru, false), &mut parameters).unwrap();
    let counts = [0, 10, 20, 30, 40, 0, 100];
    let mut workspace = Workspace::new();
    for power in [1.0, 0.5] {
        model.start_from_counts(&mut parameters, &counts, power);
        let powers = counts.map(|count| ((count as f64 + 0.5) / (200.0 + 3.5)).powf(power));
        for (target, expected) in powers.into_iter().enumerate() {
            let mut tape = Tape::inference(&cpu, &parameters, &mut workspace);
            let window = Window { time: 1, batch: 1 };
            let (targets, state) = ([target as u32], &mut model.zero_state(1));
            let nats = model.nats(&mut tape, &[0], &targets, window, state);
            let expected = expected / powers.iter().sum::<f64>();
            assert!(((-nats).exp() - expected).abs() < 1e-12, "token {target}, power {power}");
        }
    }
}
