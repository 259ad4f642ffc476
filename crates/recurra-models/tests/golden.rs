//! The same weights give the same numbers as in PyTorch (`golden/recurrent_language_models.py`).

mod golden_case;

use golden_case::Case;
use recurra_models::{CellKind, LanguageModelConfig};
use recurra_tensor::Isa;

const GOLDEN: &[u8] = include_bytes!("../../../golden/recurrent_language_models.safetensors");

#[test]
fn every_cell_agrees_with_pytorch_on_every_instruction_set() {
    for isa in Isa::available() {
        for cell in [CellKind::RnnTanh, CellKind::RnnRelu, CellKind::Lstm, CellKind::Gru] {
            let config = LanguageModelConfig {
                cell,
                embed_size: 5,
                hidden_sizes: vec![7; 2],
                ..LanguageModelConfig::new(11)
            };
            Case::new(GOLDEN, cell.name(), &config).check(isa);
        }
    }
}
