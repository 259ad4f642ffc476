//! The same weights give the same numbers as GPT-2 and LLaMA in Hugging Face's transformers (`golden/transformer.py`).

mod golden_case;

use golden_case::Case;
use recurra_models::{CellKind, CellOptions, LanguageModelConfig, NormKind};
use recurra_tensor::Isa;

const GOLDEN: &[u8] = include_bytes!("../../../golden/transformer.safetensors");

#[test]
fn gpt_2_and_llama_are_met_on_every_instruction_set() {
    for isa in Isa::available() {
        for (name, norm, tied) in [("gpt2", NormKind::Layer, true), ("llama", NormKind::Rms, false)]
        {
            let options = CellOptions {
                heads: Some(2),
                context: Some(12),
                norm: Some(norm),
                ..CellOptions::default()
            };
            let config = LanguageModelConfig {
                cell: CellKind::Transformer,
                embed_size: 8,
                hidden_sizes: vec![8; 2],
                tied,
                options,
                ..LanguageModelConfig::new(11)
            };
            let lacks: &[&str] = &["output.bias"];
            let case = Case { lacks, bf16_tolerance: 0.04, ..Case::new(GOLDEN, name, &config) };
            case.check(isa);
        }
    }
}
