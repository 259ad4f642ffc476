//! The neural cache (Grave, Joulin and Usunier 2016): the words that followed when the network was in a like state.

use recurra_tensor::{Cpu, dot_products};

/// Positions whose products with the cache are made at once, counted from the first of the text, so that no result depends on
/// how the text is cut into windows.
const BLOCK: usize = 128;

/// The last positions of a text, and what they make of the next ones for some values of θ.
#[derive(Debug)]
pub(super) struct Cache {
    /// W.
    window: usize,
    thetas: Vec<f64>,
    /// What the output layer read at each position that is kept, oldest first: at most W that are done, then those that wait.
    hidden: Vec<f32>,
    /// The token that followed each.
    followers: Vec<u32>,
    n_done: usize,
    /// Room for products and weights.
    products: Vec<f32>,
    weights: Vec<f64>,
}

impl Cache {
    pub fn new(window: usize, thetas: Vec<f64>) -> Self {
        let (hidden, followers) = (Vec::new(), Vec::new());
        Self { window, thetas, hidden, followers, n_done: 0, products: vec![], weights: vec![] }
    }

    /// Adds positions, and gives to `each` the probability that the cache had for each token that is due, by θ; none before
    /// the second position of a text.
    ///
    /// # Shapes
    /// `hidden` (N, H), `followers` (N).
    pub fn push(
        &mut self,
        cpu: &Cpu,
        hidden: &[f32],
        followers: &[u32],
        each: &mut dyn FnMut(Option<&[f64]>),
    ) {
        let width = hidden.len() / followers.len();
        for (rows, followers) in hidden.chunks(BLOCK * width).zip(followers.chunks(BLOCK)) {
            self.hidden.extend_from_slice(rows);
            self.followers.extend_from_slice(followers);
            if self.followers.len() - self.n_done >= BLOCK {
                self.answer(cpu, BLOCK, each);
            }
        }
    }

    /// Answers for all that wait.
    pub fn finish(&mut self, cpu: &Cpu, each: &mut dyn FnMut(Option<&[f64]>)) {
        self.answer(cpu, self.followers.len() - self.n_done, each);
    }

    /// Answers for the first `n` that wait.
    fn answer(&mut self, cpu: &Cpu, n: usize, each: &mut dyn FnMut(Option<&[f64]>)) {
        if n == 0 {
            return;
        }
        let width = self.hidden.len() / self.followers.len();
        let end = self.n_done + n;
        let queries = &self.hidden[self.n_done * width..end * width]; // (n, H)
        let keys = &self.hidden[..end * width]; // (end, H)
        self.products.resize(n * end, 0.0);
        dot_products(cpu, queries, keys, width, &mut self.products); // (n, end)
        for (at, row) in (self.n_done..end).zip(self.products.chunks(end)) {
            let past = at.saturating_sub(self.window)..at;
            if past.is_empty() {
                each(None);
                continue;
            }
            let (row, followers) = (&row[past.clone()], &self.followers[past]);
            let token = self.followers[at];
            self.weights.clear();
            self.weights
                .extend(self.thetas.iter().map(|&theta| share(theta, row, followers, token)));
            each(Some(&self.weights));
        }
        self.n_done = end;
        let old = end.saturating_sub(self.window);
        self.hidden.drain(..old * width);
        self.followers.drain(..old);
        self.n_done -= old;
    }
}

/// Σ_{i: followers_i = token} softmax(θ·products)_i.
fn share(theta: f64, products: &[f32], followers: &[u32], token: u32) -> f64 {
    let largest = products.iter().fold(f32::NEG_INFINITY, |max, &x| max.max(x));
    let (mut all, mut hits) = (0.0, 0.0);
    for (&product, &follower) in products.iter().zip(followers) {
        let weight = (theta * f64::from(product - largest)).exp();
        all += weight;
        if follower == token {
            hits += weight;
        }
    }
    hits / all
}

/// −ln((1 − λ)·p + λ·share) with p = e^−nats; without a past the model speaks alone.
pub(super) fn mixed(nats: f64, share: Option<f64>, lambda: f64) -> f64 {
    match share {
        // So small a p that e^−nats is 0 still counts where the cache has nothing to say.
        Some(0.0) => nats - (1.0 - lambda).ln(),
        Some(share) if lambda > 0.0 => -((1.0 - lambda) * (-nats).exp() + lambda * share).ln(),
        _ => nats,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_neither_expects_has_finite_nats() {
        let found = mixed(1000.0, Some(0.0), 0.25);
        assert!((found - (1000.0 - 0.75f64.ln())).abs() < 1e-9, "{found}");
        assert_eq!(mixed(2.0, Some(0.0), 0.0), 2.0);
        assert_eq!(mixed(2.0, None, 0.25), 2.0);
        let expected = -(0.75 * (-2.0f64).exp() + 0.25 * 0.5).ln();
        assert!((mixed(2.0, Some(0.5), 0.25) - expected).abs() < 1e-12);
    }
}
