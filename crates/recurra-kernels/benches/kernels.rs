//! Each kernel of training at the sizes of a recipe: `cargo bench -p recurra-kernels`, on the instruction set that is best or
//! that `RECURRA_ISA` names, with all cores. None is timed before its results at the same widths, with a few rows, agree with
//! those of its reference, which is what runs in `f64`. (One step of generation: `recurra bench step`.)

use divan::Bencher;
use recurra_kernels::cross_entropy::{self, Arguments, Gradients};
use recurra_kernels::dropout::{self, Mask};
use recurra_kernels::layer::{
    self, CellKind, Direction, InputGradient, LayerGradients, LayerShape, PackedLayer,
};
use recurra_kernels::matmul::{Matrix, Start, matmul};
use recurra_kernels::recurrent::{RecurrentWeight, Shape};
use recurra_kernels::rnn::Activation;
use recurra_kernels::update::{self, Adam, Dynamic, Pass, Rule, Sgd, Slabs};
use recurra_kernels::{Cpu, Element, Precision, embedding, gru, lstm, rnn};

fn main() {
    divan::main();
}

/// A kernel and its sizes.
trait Kernel {
    /// Operands and results.
    type Numbers<E: Element>;

    /// The operands for so many rows (steps of a sequence).
    fn numbers<E: Element>(&self, rows: usize) -> Self::Numbers<E>;

    fn run<E: Element>(&self, cpu: &Cpu, numbers: &mut Self::Numbers<E>);

    fn results<'a, E: Element>(&self, numbers: &'a Self::Numbers<E>) -> Vec<&'a [E]>;
}

/// Checks a kernel with `few` rows, then times it with `rows`.
fn bench(bencher: Bencher<'_, '_>, kernel: &impl Kernel, few: usize, rows: usize) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let cpu = Cpu::new(threads).unwrap_or_else(|error| panic!("{error}"));
    let (mut found, mut expected) = (kernel.numbers::<f32>(few), kernel.numbers::<f64>(few));
    kernel.run(&cpu, &mut found);
    kernel.run(&cpu, &mut expected);
    let bound = if cpu.isa().precision() == Precision::Bf16 { 2e-2 } else { 1e-4 };
    let (found, expected) = (kernel.results(&found), kernel.results(&expected));
    for (idx, (found, expected)) in found.into_iter().zip(expected).enumerate() {
        let square = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>();
        let off = square(&mut found.iter().zip(expected).map(|(x, y)| x.to_f64() - y));
        let size = square(&mut expected.iter().copied());
        let distance = (off / size.max(f64::MIN_POSITIVE)).sqrt();
        assert!(
            distance <= bound,
            "result {idx} on {} is off by {distance:e} of its size: not timed",
            cpu.isa()
        );
    }
    let mut numbers = kernel.numbers::<f32>(rows);
    bencher.bench_local(|| kernel.run(&cpu, &mut numbers));
}

/// Numbers between −`scale` and `scale`, the same for every type.
fn values<E: Element>(seed: u64, n: usize, scale: f64) -> Vec<E> {
    let mut x = seed;
    let mut next = || {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((x >> 40) as f64 / 8_388_608.0 - 1.0) * scale
    };
    // Rounded once, so that both types begin with the same.
    (0..n).map(|_| E::from_f64(f64::from(next() as f32))).collect()
}

fn ids(n: usize, below: usize) -> Vec<u32> {
    (0..n).map(|n| (n * 7919 % below) as u32).collect()
}

/// C = A·B with `depth` steps of k and `columns`.
struct Product {
    depth: usize,
    columns: usize,
}

impl Kernel for Product {
    type Numbers<E: Element> = [Vec<E>; 3];

    fn numbers<E: Element>(&self, rows: usize) -> [Vec<E>; 3] {
        let Self { depth, columns } = *self;
        [
            values(1, rows * depth, 1.0),
            values(2, columns * depth, 1.0),
            vec![E::ZERO; rows * columns],
        ]
    }

    fn run<E: Element>(&self, cpu: &Cpu, [a, b, c]: &mut [Vec<E>; 3]) {
        let a = Matrix::new(a, a.len() / self.depth, self.depth);
        let b = Matrix::new(b, self.columns, self.depth).transposed();
        matmul(cpu, a, b, Start::Zero, c);
    }

    fn results<'a, E: Element>(&self, [.., c]: &'a [Vec<E>; 3]) -> Vec<&'a [E]> {
        vec![c]
    }
}

#[divan::bench]
fn gates_of_ptb_650(bencher: Bencher<'_, '_>) {
    bench(bencher, &Product { depth: 650, columns: 2600 }, 21, 700);
}

#[divan::bench]
fn logits_of_ptb_650(bencher: Bencher<'_, '_>) {
    bench(bencher, &Product { depth: 650, columns: 10_000 }, 3, 700);
}

/// A recurrent layer of `hidden` units forward and backward, with as many inputs: products and sweep, or in tiles.
struct Layer {
    cell: CellKind,
    batch: usize,
    hidden: usize,
}

struct LayerNumbers<E> {
    /// W_ih, W_hh, b_ih, b_hh
    weights: [Vec<E>; 4],
    x: Vec<E>,
    h: Vec<E>,
    c: Vec<E>,
    d_h: Vec<E>,
    d_x: Vec<E>,
    tiles: Option<Tiles>,
}

/// What a layer in tiles has from one run to the next.
struct Tiles {
    /// For the way forward and back.
    packed: [PackedLayer; 2],
    kept: Vec<f32>,
    gradients: [Vec<f32>; 4],
    squares: [Vec<f64>; 2],
    d_h: Vec<f32>,
}

impl Layer {
    fn n_gates(&self) -> usize {
        match self.cell {
            CellKind::Lstm | CellKind::CoupledLstm => 4,
            CellKind::Gru => 3,
            CellKind::Rnn(_) => 1,
        }
    }

    fn in_tiles<E: Element>(&self, cpu: &Cpu, numbers: &mut LayerNumbers<E>) {
        let Self { cell, batch, hidden } = *self;
        let LayerNumbers { weights, x, h, c, d_h, d_x, tiles } = numbers;
        let [w_ih, w_hh, b_ih, b_hh] = weights.each_ref().map(|values| as_f32(values));
        let (x, d_h) = (as_f32(x), as_f32(d_h));
        let [h, c, d_x] = [h, c, d_x].map(|values| E::as_f32_mut(values).expect("numbers of f32"));
        let shape = LayerShape { time: x.len() / hidden / batch, batch, inputs: hidden, hidden };
        let tiles = tiles.get_or_insert_with(|| Tiles {
            packed: [Direction::Forward, Direction::Backward]
                .map(|direction| PackedLayer::pack(cpu, cell, direction, w_ih, w_hh, hidden)),
            kept: vec![0.0; layer::kept_len(cell, shape)],
            gradients: [w_ih, w_hh, b_ih, b_hh].map(|values| vec![0.0; values.len()]),
            squares: [b_ih, b_hh].map(|values| vec![0.0; values.len()]),
            d_h: d_h.to_vec(),
        });
        let ([forward, backward], kept) = (&tiles.packed, &mut tiles.kept);
        let memory = (cell == CellKind::Lstm).then_some(&mut c[..batch * hidden]);
        layer::forward(cpu, cell, shape, forward, [b_ih, b_hh], x.into(), h, memory, None, kept);
        let [weight_ih, weight_hh, bias_ih, bias_hh] = &mut tiles.gradients;
        let squares = tiles.squares.each_mut().map(|squares| &mut squares[..]);
        let gradients =
            LayerGradients { weight_ih, weight_hh, bias_ih, bias_hh, adds: false, squares };
        let (d_h, to) = (&mut tiles.d_h, InputGradient::To(d_x));
        layer::backward(cpu, cell, shape, backward, kept, x.into(), h, None, d_h, to, gradients);
    }

    fn in_sweeps<E: Element>(&self, cpu: &Cpu, numbers: &mut LayerNumbers<E>) {
        let Self { cell, batch, hidden } = *self;
        let LayerNumbers { weights: [w_ih, w_hh, b_ih, b_hh], x, h, c, d_h, d_x, .. } = numbers;
        let (rows, width) = (x.len() / hidden, self.n_gates() * hidden);
        let shape = Shape { time: rows / batch, batch, hidden };
        let weight = RecurrentWeight::pack(cpu, w_hh, hidden, self.n_gates());
        let n_joint = if cell == CellKind::Gru { 2 * hidden } else { width };
        let mut bias = b_ih.clone();
        bias.iter_mut().zip(&b_hh[..n_joint]).for_each(|(sum, &part)| *sum += part);
        let mut gates = vec![E::ZERO; rows * width];
        let w_ih = Matrix::new(w_ih, width, hidden);
        let start = Start::Bias(&bias);
        matmul(cpu, Matrix::new(x, rows, hidden), w_ih.transposed(), start, &mut gates);
        let [mut d_h_last, mut d_c_last] = [(); 2].map(|()| vec![E::ZERO; batch * hidden]);
        match cell {
            CellKind::Lstm => {
                let form = lstm::Form::default();
                lstm::forward(cpu, shape, form, &weight, &mut gates, h, c, None);
                let (of_h, of_c) = (&mut d_h_last, &mut d_c_last);
                lstm::backward(cpu, shape, form, &weight, &mut gates, c, d_h, of_h, of_c);
            }
            CellKind::CoupledLstm => unreachable!("no layer of it is timed"),
            CellKind::Gru => {
                let mut hn = vec![E::ZERO; rows * hidden];
                let b_hn = &b_hh[2 * hidden..];
                gru::forward(cpu, shape, &weight, b_hn, &mut gates, &mut hn, h);
                gru::backward(cpu, shape, &weight, &mut gates, &mut hn, h, d_h, &mut d_h_last);
            }
            CellKind::Rnn(activation) => {
                let first = batch * hidden;
                h[first..].copy_from_slice(&gates);
                rnn::forward(cpu, shape, activation, &weight, h);
                let d = &mut gates;
                d.copy_from_slice(d_h);
                rnn::backward(cpu, shape, activation, &weight, h, d, &mut d_h_last);
            }
        }
        matmul(cpu, Matrix::new(&gates, rows, width), w_ih, Start::Zero, d_x);
    }
}

fn as_f32<E: Element>(values: &[E]) -> &[f32] {
    E::as_f32(values).expect("numbers of f32")
}

impl Kernel for Layer {
    type Numbers<E: Element> = LayerNumbers<E>;

    fn numbers<E: Element>(&self, steps: usize) -> LayerNumbers<E> {
        let Self { batch, hidden, .. } = *self;
        let (width, scale) = (self.n_gates() * hidden, 1.0 / (hidden as f64).sqrt());
        let (rows, state) = (steps * batch, batch * hidden);
        let weight = |seed| values(seed, width * hidden, scale);
        LayerNumbers {
            weights: [weight(1), weight(2), values(3, width, scale), values(4, width, scale)],
            x: values(5, rows * hidden, 1.0),
            h: values(6, state + rows * hidden, 0.5),
            c: values(7, state + rows * hidden, 0.5),
            d_h: values(8, rows * hidden, 1.0),
            d_x: vec![E::ZERO; rows * hidden],
            tiles: None,
        }
    }

    fn run<E: Element>(&self, cpu: &Cpu, numbers: &mut LayerNumbers<E>) {
        if E::as_f32(&numbers.x).is_some() && layer::is_available(cpu) {
            self.in_tiles(cpu, numbers);
        } else {
            self.in_sweeps(cpu, numbers);
        }
    }

    fn results<'a, E: Element>(&self, numbers: &'a LayerNumbers<E>) -> Vec<&'a [E]> {
        vec![&numbers.h, &numbers.d_x]
    }
}

#[divan::bench(args = [CellKind::Lstm, CellKind::Gru, CellKind::Rnn(Activation::Tanh)])]
fn layer_of_512(bencher: Bencher<'_, '_>, cell: CellKind) {
    bench(bencher, &Layer { cell, batch: 64, hidden: 512 }, 2, 128);
}

#[divan::bench]
fn layer_of_ptb_650(bencher: Bencher<'_, '_>) {
    bench(bencher, &Layer { cell: CellKind::Lstm, batch: 20, hidden: 650 }, 2, 35);
}

/// The loss and its gradients.
struct Loss {
    hidden: usize,
    vocab: usize,
}

struct LossNumbers<E> {
    /// h, W, b
    values: [Vec<E>; 3],
    targets: Vec<u32>,
    gradients: [Vec<E>; 3],
    squares: Vec<f64>,
    nats: Vec<f64>,
}

impl Kernel for Loss {
    type Numbers<E: Element> = LossNumbers<E>;

    fn numbers<E: Element>(&self, rows: usize) -> LossNumbers<E> {
        let Self { hidden, vocab } = *self;
        let values =
            [values(1, rows * hidden, 1.0), values(2, vocab * hidden, 0.1), values(3, vocab, 1.0)];
        LossNumbers {
            gradients: values.each_ref().map(|values| vec![E::ZERO; values.len()]),
            values,
            targets: ids(rows, vocab),
            squares: vec![0.0; vocab],
            nats: vec![0.0; rows],
        }
    }

    fn run<E: Element>(&self, cpu: &Cpu, numbers: &mut LossNumbers<E>) {
        let LossNumbers { values: [hidden, weight, bias], targets, gradients, squares, nats } =
            numbers;
        let [d_hidden, d_weight, d_bias] = gradients;
        let scale = E::from_f64(1.0 / targets.len() as f64);
        let gradients = Gradients { scale, d_hidden, d_weight, d_bias, adds: false, squares };
        let arguments = Arguments { hidden, weight, bias, targets };
        cross_entropy::forward_backward(cpu, arguments, nats, gradients);
    }

    fn results<'a, E: Element>(&self, numbers: &'a LossNumbers<E>) -> Vec<&'a [E]> {
        numbers.gradients.iter().map(|values| &values[..]).collect()
    }
}

#[divan::bench]
fn loss_of_char_512(bencher: Bencher<'_, '_>) {
    bench(bencher, &Loss { hidden: 512, vocab: 96 }, 33, 8192);
}

#[divan::bench]
fn loss_of_ptb_650(bencher: Bencher<'_, '_>) {
    bench(bencher, &Loss { hidden: 650, vocab: 10_000 }, 5, 700);
}

/// Rows of a table, dropout, and the gradients of both, over 10,000 rows of 650.
struct Embedding;

impl Kernel for Embedding {
    type Numbers<E: Element> = (Vec<u32>, [Vec<E>; 3]);

    fn numbers<E: Element>(&self, rows: usize) -> (Vec<u32>, [Vec<E>; 3]) {
        let (table, len) = (10_000 * 650, rows * 650);
        let numbers = [values(1, table, 1.0), vec![E::ZERO; len], vec![E::ZERO; table]];
        (ids(rows, 10_000), numbers)
    }

    fn run<E: Element>(&self, cpu: &Cpu, (ids, numbers): &mut (Vec<u32>, [Vec<E>; 3])) {
        let [table, out, d_table] = numbers;
        embedding::forward(cpu, table, ids, out);
        dropout::apply(cpu, Mask { key: 1, keep: 0.5 }, 0, out);
        embedding::backward(cpu, ids, out, d_table);
    }

    fn results<'a, E: Element>(
        &self,
        (_, [_, out, d_table]): &'a (Vec<u32>, [Vec<E>; 3]),
    ) -> Vec<&'a [E]> {
        vec![out, d_table]
    }
}

#[divan::bench]
fn embedding_and_dropout_of_ptb_650(bencher: Bencher<'_, '_>) {
    bench(bencher, &Embedding, 33, 700);
}

/// One step of a rule, and of the average behind it.
struct Update(Pass);

impl Kernel for Update {
    type Numbers<E: Element> = [Vec<E>; 5];

    fn numbers<E: Element>(&self, rows: usize) -> [Vec<E>; 5] {
        let Pass { rule, average } = self.0;
        let kept = [rule.n_moments() > 0, rule.n_moments() > 1, average.is_some()];
        let [first, second, average] =
            kept.map(|is_kept| vec![E::from_f64(0.25); if is_kept { rows } else { 0 }]);
        [values(1, rows, 0.1), values(2, rows, 1.0), first, second, average]
    }

    fn run<E: Element>(&self, cpu: &Cpu, [value, gradient, m, v, average]: &mut [Vec<E>; 5]) {
        update::step(cpu, self.0, Slabs { value, gradient, moments: [m, v], average });
    }

    fn results<'a, E: Element>(&self, [value, .., average]: &'a [Vec<E>; 5]) -> Vec<&'a [E]> {
        vec![value, average]
    }
}

#[divan::bench]
fn sgd_of_13_million(bencher: Bencher<'_, '_>) {
    let rule = Sgd { lr: 20.0, momentum: 0.0, weight_decay: 0.0, scale: 0.25 };
    bench(bencher, &Update(Rule::Sgd(rule).into()), 10_007, 13_280_000);
}

#[divan::bench]
fn averaged_sgd_of_13_million(bencher: Bencher<'_, '_>) {
    let rule = Rule::Sgd(Sgd { lr: 20.0, momentum: 0.0, weight_decay: 0.0, scale: 0.25 });
    bench(bencher, &Update(Pass { rule, average: Some(0.125) }), 10_007, 13_280_000);
}

#[divan::bench]
fn dynamic_evaluation_of_13_million(bencher: Bencher<'_, '_>) {
    let rule = Dynamic { lr: 2e-4, decay: 0.01, epsilon: 2e-5 };
    bench(bencher, &Update(Rule::Dynamic(rule).into()), 10_007, 13_280_000);
}

#[divan::bench]
fn adamw_of_13_million(bencher: Bencher<'_, '_>) {
    let rule = Adam {
        lr: 1e-3,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        weight_decay: 0.01,
        is_decoupled: true,
        step: 3,
        scale: 0.25,
    };
    bench(bencher, &Update(Rule::Adam(rule).into()), 10_007, 13_280_000);
}
