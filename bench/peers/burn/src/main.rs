//! Burn as the opponent: the word-650 language model, trained on the same machine in the same run.
//!
//! `peer-burn [STEPS]` prints one JSON line. It does what a user's loop does: embedding, dropout 0.5, two LSTM layers, tied
//! output, cross-entropy over every token, backward, clipping at 0.25 (Burn clips each tensor by itself), SGD; the median
//! step after one that is not counted. Burn's pure-Rust backend `flex`. A first loss that is not near ln V is refused: what is
//! wrong is not timed.

use burn::grad_clipping::GradientClippingConfig;
use burn::module::{Module, Param};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{
    Dropout, DropoutConfig, Embedding, EmbeddingConfig, Initializer, Lstm, LstmConfig, LstmState,
};
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{Device, Int, Tensor, TensorData};
use std::time::Instant;

const VOCAB: usize = 33_278;
const WIDTH: usize = 650;
const LAYERS: usize = 2;
const BATCH: usize = 20;
const BPTT: usize = 35;
const WARM_UP: usize = 1;

#[derive(Module, Debug)]
struct Model {
    embedding: Embedding,
    layers: Vec<Lstm>,
    dropout: Dropout,
    bias: Param<Tensor<1>>,
}

impl Model {
    fn new(device: &Device) -> Self {
        Self {
            embedding: EmbeddingConfig::new(VOCAB, WIDTH)
                .with_initializer(Initializer::Uniform { min: -0.1, max: 0.1 })
                .init(device),
            layers: (0..LAYERS).map(|_| LstmConfig::new(WIDTH, WIDTH, true).init(device)).collect(),
            dropout: DropoutConfig::new(0.5).init(),
            bias: Param::from_tensor(Tensor::zeros([VOCAB], device)),
        }
    }

    /// Logits (B·T, V) of ids (B, T); `states` goes on from window to window.
    fn forward(&self, ids: Tensor<2, Int>, states: &mut [Option<LstmState<2>>]) -> Tensor<2> {
        let mut x = self.dropout.forward(self.embedding.forward(ids)); // (B, T, E)
        for (layer, state) in self.layers.iter().zip(states) {
            let (hidden, last) = layer.forward(x, state.take());
            *state = Some(LstmState::new(last.cell.detach(), last.hidden.detach()));
            x = self.dropout.forward(hidden);
        }
        let weight = self.embedding.weight.val().transpose(); // (H, V)
        x.reshape([BATCH * BPTT, WIDTH]).matmul(weight) + self.bias.val().unsqueeze()
    }
}

fn main() {
    let steps = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(3);
    let device = Device::flex().autodiff();
    let mut model = Model::new(&device);
    let clipping = GradientClippingConfig::Norm(0.25);
    let mut optimizer = SgdConfig::new().with_gradient_clipping(Some(clipping)).init();
    let cross_entropy = CrossEntropyLossConfig::new().init(&device);

    let ids = |first: u32| -> Vec<i32> {
        (0..(BATCH * BPTT) as u32)
            .map(|idx| ((first + idx).wrapping_mul(2_654_435_761) % VOCAB as u32) as i32)
            .collect()
    };
    let inputs: Tensor<2, Int> = Tensor::from_data(TensorData::new(ids(1), [BATCH, BPTT]), &device);
    let targets: Tensor<1, Int> =
        Tensor::from_data(TensorData::new(ids(7), [BATCH * BPTT]), &device);
    let mut states = vec![None; LAYERS];
    let (mut seconds, mut first_loss) = (Vec::new(), f32::NAN);
    for step in 0..WARM_UP + steps {
        let start = Instant::now();
        let logits = model.forward(inputs.clone(), &mut states);
        let loss = cross_entropy.forward(logits, targets.clone());
        if step == 0 {
            first_loss = loss.clone().into_scalar::<f32>();
            let expected = (VOCAB as f32).ln();
            assert!(
                (first_loss - expected).abs() < 1.0,
                "the first loss is {first_loss}, expected about {expected}"
            );
        }
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(1.0, model, gradients);
        if step >= WARM_UP {
            seconds.push(start.elapsed().as_secs_f64());
        }
    }
    seconds.sort_by(f64::total_cmp);
    println!(
        r#"{{"peer": "burn 0.22.1 flex", "mode": "train", "shape": "word-650", "precision": "f32", "tokens_per_second": {:.1}, "first_loss_nats": {:.3}, "peak_rss_mib": {}}}"#,
        (BATCH * BPTT) as f64 / seconds[seconds.len() / 2],
        first_loss,
        peak_rss_mib()
    );
}

fn peak_rss_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap_or(0) >> 10
}
