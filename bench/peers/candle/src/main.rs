//! Candle as the opponent: the word-650 language model, trained on the same machine in the same run.
//!
//! `peer-candle [STEPS]` prints one JSON line. It does what a user's loop does: embedding, dropout 0.5, two LSTM layers,
//! tied output, cross-entropy over every token, backward, global clipping at 0.25, SGD; the median step after one that is
//! not counted. A first loss that is not near ln V is refused: what is wrong is not timed.

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::rnn::{LSTM, LSTMConfig, LSTMState, RNN};
use candle_nn::{Optimizer, SGD, VarBuilder, VarMap, loss, lstm, ops};
use std::time::Instant;

const VOCAB: usize = 33_278;
const WIDTH: usize = 650;
const LAYERS: usize = 2;
const BATCH: usize = 20;
const BPTT: usize = 35;
const WARM_UP: usize = 1;

fn main() -> Result<()> {
    let steps = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(3);
    let device = Device::Cpu;
    let variables = VarMap::new();
    let builder = VarBuilder::from_varmap(&variables, DType::F32, &device);
    let weight = builder.get_with_hints(
        (VOCAB, WIDTH),
        "embedding",
        candle_nn::Init::Uniform { lo: -0.1, up: 0.1 },
    )?;
    let bias = builder.get_with_hints(VOCAB, "bias", candle_nn::Init::Const(0.0))?;
    let layers: Vec<LSTM> = (0..LAYERS)
        .map(|idx| lstm(WIDTH, WIDTH, LSTMConfig::default(), builder.pp(format!("lstm{idx}"))))
        .collect::<Result<_>>()?;
    let all = variables.all_vars();
    let mut optimizer = SGD::new(all.clone(), 1.0)?;

    let ids = |first: u32| -> Vec<u32> {
        (0..(BATCH * BPTT) as u32)
            .map(|idx| (first + idx).wrapping_mul(2_654_435_761) % VOCAB as u32)
            .collect()
    };
    let inputs = Tensor::from_vec(ids(1), BATCH * BPTT, &device)?;
    let targets = Tensor::from_vec(ids(7), BATCH * BPTT, &device)?;
    let mut states: Vec<LSTMState> =
        layers.iter().map(|layer| layer.zero_state(BATCH)).collect::<Result<_>>()?;
    let (mut seconds, mut first_loss) = (Vec::new(), f32::NAN);
    for step in 0..WARM_UP + steps {
        let start = Instant::now();
        let x = weight.embedding(&inputs)?.reshape((BATCH, BPTT, WIDTH))?; // (B, T, E)
        let mut x = ops::dropout(&x, 0.5)?;
        for (layer, state) in layers.iter().zip(&mut states) {
            let sequence = layer.seq_init(&x, state)?;
            x = ops::dropout(&layer.states_to_tensor(&sequence)?, 0.5)?; // (B, T, H)
            let last = &sequence[BPTT - 1];
            *state = LSTMState::new(last.h().detach(), last.c().detach());
        }
        let logits = x.reshape((BATCH * BPTT, WIDTH))?.matmul(&weight.t()?)?; // (B T, V)
        let loss = loss::cross_entropy(&logits.broadcast_add(&bias)?, &targets)?;
        let mut gradients = loss.backward()?;
        clip(&mut gradients, &all, 0.25)?;
        optimizer.step(&gradients)?;
        if step == 0 {
            first_loss = loss.to_scalar::<f32>()?;
            let expected = (VOCAB as f32).ln();
            assert!(
                (first_loss - expected).abs() < 1.0,
                "the first loss is {first_loss}, expected about {expected}"
            );
        }
        if step >= WARM_UP {
            seconds.push(start.elapsed().as_secs_f64());
        }
    }
    seconds.sort_by(f64::total_cmp);
    println!(
        r#"{{"peer": "candle 0.11.1", "mode": "train", "shape": "word-650", "precision": "f32", "tokens_per_second": {:.1}, "first_loss_nats": {:.3}, "peak_rss_mib": {}}}"#,
        (BATCH * BPTT) as f64 / seconds[seconds.len() / 2],
        first_loss,
        peak_rss_mib()
    );
    Ok(())
}

/// Scales all gradients down to a global norm of `most`.
fn clip(
    gradients: &mut candle_core::backprop::GradStore,
    variables: &[Var],
    most: f64,
) -> Result<()> {
    let mut square = 0.0;
    for variable in variables {
        if let Some(gradient) = gradients.get(variable) {
            square += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
        }
    }
    let scale = most / (square.sqrt() + 1e-6);
    if scale < 1.0 {
        for variable in variables {
            if let Some(gradient) = gradients.remove(variable) {
                gradients.insert(variable, (gradient * scale)?);
            }
        }
    }
    Ok(())
}

fn peak_rss_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap_or(0) >> 10
}
