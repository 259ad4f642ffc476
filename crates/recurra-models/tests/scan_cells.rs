//! The cells that are trained as scans give the numbers of their papers' equations (`golden/scan_cells.py`).

mod golden_case;

use golden_case::Case;
use recurra_models::{CellKind, LanguageModelConfig};
use recurra_tensor::Isa;

const GOLDEN: &[u8] = include_bytes!("../../../golden/scan_cells.safetensors");

#[test]
fn every_cell_follows_its_paper_on_every_instruction_set() {
    for isa in Isa::available() {
        for cell in [CellKind::MinGru, CellKind::MinLstm, CellKind::Qrnn, CellKind::Sru] {
            let config = LanguageModelConfig {
                cell,
                embed_size: 5,
                hidden_sizes: vec![7; 3],
                ..LanguageModelConfig::new(11)
            };
            Case::new(GOLDEN, cell.name(), &config).check(isa);
        }
    }
}
