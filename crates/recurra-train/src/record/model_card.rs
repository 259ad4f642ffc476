//! The model card: `README.md` with the front matter that Hugging Face reads, and below it what people want to know.

use std::fmt::Write as _;

use recurra_metrics::LanguageScore;
use recurra_metrics::readable::grouped;

use crate::recipe::Recipe;

/// A text that the model met, and in which role.
#[derive(Debug, Clone, PartialEq)]
pub struct CardText {
    /// `training`, `validation` or `test`.
    pub role: &'static str,
    /// What it is, for people.
    pub text: String,
    /// Bytes of UTF-8.
    pub bytes: u64,
    /// Tokens.
    pub tokens: u64,
    /// SHA-256 of the text, in hexadecimal digits.
    pub sha256: String,
}

/// Everything that the card says.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelCard<'a> {
    /// Name of the model: that of its folder.
    pub name: String,
    /// The recipe.
    pub recipe: &'a Recipe,
    /// Ids of the tokenizer.
    pub vocab_size: usize,
    /// Numbers that were learned.
    pub parameters: u64,
    /// Arithmetic a token in training.
    pub flops_per_token: u64,
    /// The texts, in order.
    pub texts: Vec<CardText>,
    /// Updates.
    pub steps: u64,
    /// Tokens trained on.
    pub tokens: u64,
    /// Wall clock.
    pub seconds: f64,
    /// Instruction set and threads, for people.
    pub machine: String,
    /// The scores by role, in order.
    pub scores: Vec<(&'static str, LanguageScore)>,
    /// Bits a byte that a perfect model would need on the validation text, where that is known.
    pub true_bits_per_byte: Option<f64>,
    /// Something that the model wrote.
    pub sample: Option<String>,
    /// Whether the loss curve stands beside the card.
    pub has_curve: bool,
}

impl ModelCard<'_> {
    /// The card as Markdown.
    pub fn markdown(&self) -> String {
        let mut card = self.front_matter();
        let _ = writeln!(
            card,
            "\n# {}\n\nA language model ({}, {} parameters), trained by [Recurra](https://github.com/recurra/recurra) {}.\n",
            plain(&self.name),
            self.recipe.cell,
            grouped(self.parameters),
            env!("CARGO_PKG_VERSION")
        );
        self.how_to_use(&mut card);
        self.scores(&mut card);
        self.data(&mut card);
        self.recipe(&mut card);
        if let Some(sample) = self.sample.as_deref().filter(|sample| !sample.trim().is_empty()) {
            let _ = writeln!(card, "\n## What it writes\n\n{}", indented(sample));
        }
        card
    }

    fn front_matter(&self) -> String {
        let cell = self.recipe.cell;
        let mut yaml = format!(
            "---\nlibrary_name: recurra\npipeline_tag: text-generation\ntags:\n- recurra\n- {cell}\n- language-model\n"
        );
        if !self.scores.is_empty() {
            let _ = writeln!(yaml, "model-index:\n- name: {}\n  results:", quoted(&self.name));
        }
        for (role, score) in &self.scores {
            let dataset =
                self.texts.iter().find(|text| text.role == *role).map_or(*role, |text| &text.text);
            let _ = write!(
                yaml,
                "  - task:\n      type: text-generation\n    dataset:\n      name: {}\n      type: text\n      split: {role}\n    metrics:\n    - type: perplexity\n      name: perplexity by token\n      value: {:.4}\n    - type: bits_per_byte\n      name: bits per byte\n      value: {:.4}\n",
                quoted(&format!("{dataset}{}", self.part_scored(role, score))),
                score.perplexity(),
                score.bits_per_byte()
            );
        }
        yaml + "---\n"
    }

    fn how_to_use(&self, card: &mut String) {
        card.push_str(
            "## Use\n\n```\nrecurra generate .                   # writes\nrecurra eval . some-text.txt         # scores a text\nrecurra info .                       # sizes, history\n```\nRun in this folder. The weights are in `model.safetensors`, with the names and the gate order of PyTorch.\n",
        );
    }

    fn scores(&self, card: &mut String) {
        if self.scores.is_empty() {
            card.push_str("\n## Scores\n\nNot scored yet: the run was interrupted.\n");
            return;
        }
        card.push_str(
            "\n## Scores\n\n| text | loss, nats a token | perplexity by token | by word | bits per byte |\n|---|---|---|---|---|\n",
        );
        for (role, score) in &self.scores {
            let _ = writeln!(
                card,
                "| {role}{} | {:.4} | {:.2} | {} | {:.4} |",
                self.part_scored(role, score),
                score.loss_nats(),
                score.perplexity(),
                match score.has_words() {
                    true => format!("{:.2}", score.word_perplexity()),
                    false => "–".to_owned(),
                },
                score.bits_per_byte()
            );
        }
        card.push_str("\nSigned, so that only like is compared with like:\n");
        for (role, score) in &self.scores {
            let _ = writeln!(card, "- {role}: `{}`", score.signature);
        }
        let valid = self.scores.iter().find(|(role, _)| *role == "validation");
        if let (Some(limit), Some((_, score))) = (self.true_bits_per_byte, valid) {
            let bits = score.bits_per_byte();
            let _ = writeln!(
                card,
                "\nThe text comes from a grammar whose probabilities are known: a perfect model needs {limit:.4} bits a byte here, this one {bits:.4}, which is {:.4} ({:.1} %) more.",
                bits - limit,
                100.0 * (bits / limit - 1.0)
            );
        }
        if self.has_curve {
            card.push_str("\n![loss over the steps](training/loss.svg)\n");
        }
    }

    /// What part of its text a score is of; nothing to say where it is of all.
    fn part_scored(&self, role: &str, score: &LanguageScore) -> String {
        let of_role = |text: &&CardText| text.role == role;
        // The first token is given, not predicted.
        let n_predicted =
            self.texts.iter().find(of_role).map_or(0, |text| text.tokens.saturating_sub(1));
        match score.tokens < n_predicted {
            true => {
                let percent = 100.0 * score.tokens as f64 / n_predicted as f64;
                format!(", its first {percent:.0} %")
            }
            false => String::new(),
        }
    }

    fn data(&self, card: &mut String) {
        card.push_str(
            "\n## Data\n\n| role | text | bytes | tokens | sha256 |\n|---|---|---|---|---|\n",
        );
        for text in &self.texts {
            let _ = writeln!(
                card,
                "| {} | {} | {} | {} | `{}` |",
                text.role,
                in_cell(&text.text),
                grouped(text.bytes),
                grouped(text.tokens),
                text.sha256.get(..16).unwrap_or(&text.sha256)
            );
        }
        let _ = writeln!(
            card,
            "\nThe model knows what stood in the training text, and nothing else; whatever is wrong or private there may come out again."
        );
    }

    fn recipe(&self, card: &mut String) {
        card.push_str("\n## Recipe\n\n| | |\n|---|---|\n");
        for (name, value) in self.recipe.settings() {
            let _ = writeln!(card, "| {name} | {} |", in_cell(&value));
        }
        let _ = writeln!(card, "| vocabulary | {} |", grouped(self.vocab_size as u64));
        let _ = writeln!(
            card,
            "\n{} updates over {} tokens in {:.0} seconds on {}; {} operations a token in training.",
            grouped(self.steps),
            grouped(self.tokens),
            self.seconds,
            self.machine,
            grouped(self.flops_per_token)
        );
    }
}

/// A YAML string; JSON's double-quoted form is one.
fn quoted(words: &str) -> String {
    serde_json::Value::from(words).to_string()
}

/// One line without characters that Markdown would take for its own.
fn plain(words: &str) -> String {
    words
        .chars()
        .map(|letter| if letter.is_control() || "[]<>`#*|".contains(letter) { ' ' } else { letter })
        .collect()
}

/// A table cell: code in backticks stays, a bar would end the cell.
fn in_cell(words: &str) -> String {
    words
        .chars()
        .map(|letter| if letter.is_control() || "|<>".contains(letter) { ' ' } else { letter })
        .collect()
}

/// A block that shows text as it is, whatever stands in it.
fn indented(sample: &str) -> String {
    sample.lines().map(|line| format!("    {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(recipe: &Recipe) -> ModelCard<'_> {
        let signature =
            "lm|unit:char|tok:char-aa|ctx:unbounded|state:carried|data:bb|prec:f32|v:0.1.0";
        let score = LanguageScore {
            tokens: 100,
            bytes: 100,
            words: 20,
            total_nats: 100.0 * 4f64.ln(),
            signature: signature.parse().unwrap(),
        };
        let text = CardText {
            role: "validation",
            text: "the end of `a|b: \"c\".txt`".to_owned(),
            bytes: 100,
            tokens: 100,
            sha256: "0123456789abcdef0123".to_owned(),
        };
        ModelCard {
            name: "my: \"model\"".to_owned(),
            recipe,
            vocab_size: 300,
            parameters: 1_234_567,
            flops_per_token: 7_000_000,
            texts: vec![text],
            steps: 10,
            tokens: 20_000,
            seconds: 12.3,
            machine: "2 threads of AVX-512".to_owned(),
            scores: vec![("validation", score)],
            true_bits_per_byte: Some(1.6),
            sample: Some("Once\n```\nupon".to_owned()),
            has_curve: true,
        }
    }

    #[test]
    fn scores_stand_with_their_signatures_and_the_distance_to_the_limit() {
        let recipe = Recipe::example();
        let markdown = card(&recipe).markdown();
        for expected in [
            "| validation | 1.3863 | 4.00 | 1024.00 | 2.0000 |",
            "- validation: `lm|unit:char|tok:char-aa|ctx:unbounded|state:carried|data:bb|prec:f32|v:0.1.0`",
            "needs 1.6000 bits a byte here, this one 2.0000, which is 0.4000 (25.0 %) more",
            "1,234,567 parameters",
            "| seed | 1 |",
            "| validation | the end of `a b: \"c\".txt` | 100 | 100 | `0123456789abcdef` |",
            "    ```\n",
        ] {
            assert!(markdown.contains(expected), "`{expected}` is not in\n{markdown}");
        }
    }

    #[test]
    fn a_score_of_a_part_says_of_which() {
        let recipe = Recipe::example();
        let mut card = card(&recipe);
        card.texts[0].tokens = 1001;
        let markdown = card.markdown();
        assert!(markdown.contains("| validation, its first 10 % | 1.3863 |"), "{markdown}");
        assert!(markdown.contains(r#"c\".txt`, its first 10 %""#), "{markdown}");
    }

    #[test]
    fn the_front_matter_quotes_what_would_break_it() {
        let recipe = Recipe::example();
        let markdown = card(&recipe).markdown();
        let front = markdown.strip_prefix("---\n").unwrap().split("\n---\n").next().unwrap();
        assert!(front.contains(r#"- name: "my: \"model\"""#), "{front}");
        assert!(front.contains(r#"name: "the end of `a|b: \"c\".txt`""#), "{front}");
        assert!(front.contains("value: 4.0000") && front.contains("value: 2.0000"));
    }

    #[test]
    fn an_interrupted_run_says_that_it_has_no_scores() {
        let recipe = Recipe::example();
        let markdown =
            ModelCard { scores: vec![], sample: None, has_curve: false, ..card(&recipe) }
                .markdown();
        assert!(
            markdown.contains("Not scored yet")
                && !markdown.contains("model-index")
                && !markdown.contains("What it writes")
        );
    }
}
