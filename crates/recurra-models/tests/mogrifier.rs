//! Mogrifiers, coupled input gates and summed outputs give the numbers of their papers' equations (`golden/mogrifier.py`).

mod golden_case;

use golden_case::Case;
use recurra_models::{CellKind, CellOptions, LanguageModelConfig};
use recurra_tensor::Isa;

const GOLDEN: &[u8] = include_bytes!("../../../golden/mogrifier.safetensors");

#[test]
fn every_case_follows_its_paper_on_every_instruction_set() {
    let none = CellOptions::default();
    let melis = CellOptions { coupled: Some(true), summed_outputs: Some(true), ..none };
    let low_rank = CellOptions { rounds: Some(4), rank: Some(3), ..melis };
    for (case, cell, options) in [
        ("coupled", CellKind::Lstm, melis),
        ("mogrifier", CellKind::Mogrifier, none),
        ("mogrifier-rank", CellKind::Mogrifier, low_rank),
    ] {
        let config = LanguageModelConfig {
            cell,
            embed_size: 5,
            hidden_sizes: vec![7; 2],
            options,
            ..LanguageModelConfig::new(11)
        };
        for isa in Isa::available() {
            Case::new(GOLDEN, case, &config).check(isa);
        }
    }
}
