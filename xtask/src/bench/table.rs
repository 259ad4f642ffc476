//! The table that README shows: speeds, ratios and memory, one row a shape.

use recurra_metrics::readable::grouped;

use super::{Mode, Timing, geometric_mean};

/// The medians of a shape: Recurra's first, then those of its opponents, by their names.
#[derive(Clone, Debug)]
pub struct Row {
    /// Name of the shape.
    pub shape: String,
    /// Name of the program, and what it reached.
    pub medians: Vec<(String, Timing)>,
}

impl Row {
    fn of(&self, name: &str) -> Option<&Timing> {
        self.medians.iter().find(|(program, _)| program == name).map(|(_, timing)| timing)
    }
}

/// The rows as Markdown: for every program its speed, and for every opponent how many times as fast Recurra is; memory in
/// training; and below, the geometric mean of the ratios of each opponent.
pub fn markdown(mode: Mode, rows: &[Row]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in rows.iter().flat_map(|row| &row.medians) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let Some((ours, peers)) = names.split_first() else { return String::new() };
    let with_memory = mode == Mode::Train;
    let mut head = vec![format!("`{}`, tokens a second", mode.name()), (*ours).to_owned()];
    for peer in peers {
        head.extend([(*peer).to_owned(), "ratio".to_owned()]);
    }
    if with_memory {
        head.extend(names.iter().map(|name| format!("{name}, MiB")));
    }
    let mut lines = vec![line(&head), line(&vec!["---".to_owned(); head.len()])];
    let mut ratios = vec![vec![]; peers.len()];
    for row in rows {
        let Some(our) = row.of(ours) else { continue };
        let mut cells =
            vec![format!("`{}`", row.shape), grouped(our.tokens_per_second.round() as u64)];
        for (peer, ratios) in peers.iter().zip(&mut ratios) {
            let Some(their) = row.of(peer) else {
                cells.extend([String::new(), String::new()]);
                continue;
            };
            let ratio = our.tokens_per_second / their.tokens_per_second;
            ratios.push(ratio);
            let precision =
                their.precision.as_ref().map_or(String::new(), |precision| format!(" {precision}"));
            cells.extend([
                format!("{}{precision}", grouped(their.tokens_per_second.round() as u64)),
                format!("{ratio:.1} ×"),
            ]);
        }
        if with_memory {
            let mib = |name: &&str| row.of(name).and_then(|timing| timing.peak_rss_mib);
            cells.extend(
                names.iter().map(|name| mib(name).map_or(String::new(), |mib| format!("{mib:.0}"))),
            );
        }
        lines.push(line(&cells));
    }
    lines.push(String::new());
    for (peer, ratios) in peers.iter().zip(&ratios) {
        lines.push(format!("{peer}: geometric mean {:.1} ×", geometric_mean(ratios)));
    }
    lines.join("\n")
}

fn line(cells: &[String]) -> String {
    format!("| {} |", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(shape: &str, medians: &[(&str, f64, f64)]) -> Row {
        let timing = |&(name, tokens_per_second, mib): &(&str, f64, f64)| {
            let precision = (name == "PyTorch").then(|| "bf16".to_owned());
            (name.to_owned(), Timing { tokens_per_second, peak_rss_mib: Some(mib), precision })
        };
        Row { shape: shape.to_owned(), medians: medians.iter().map(timing).collect() }
    }

    #[test]
    fn a_table_has_a_column_for_each_program_and_leaves_out_what_was_not_timed() {
        let rows = [
            row("char-512", &[("Recurra", 27_075.0, 356.0), ("PyTorch", 13_537.5, 1200.0)]),
            row(
                "word-650",
                &[
                    ("Recurra", 4000.0, 297.0),
                    ("PyTorch", 500.0, 1300.0),
                    ("candle", 200.0, 1240.0),
                ],
            ),
        ];
        let expected = "\
| `train`, tokens a second | Recurra | PyTorch | ratio | candle | ratio | Recurra, MiB | PyTorch, MiB | candle, MiB |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
| `char-512` | 27,075 | 13,538 bf16 | 2.0 × |  |  | 356 | 1200 |  |
| `word-650` | 4,000 | 500 bf16 | 8.0 × | 200 | 20.0 × | 297 | 1300 | 1240 |

PyTorch: geometric mean 4.0 ×
candle: geometric mean 20.0 ×";
        assert_eq!(markdown(Mode::Train, &rows), expected);
    }

    #[test]
    fn writing_says_nothing_of_memory_and_recurra_alone_has_no_ratio() {
        let table = markdown(Mode::Generate, &[row("gru-512", &[("Recurra", 900.4, 1.0)])]);
        assert_eq!(
            table,
            "| `generate`, tokens a second | Recurra |\n| --- | --- |\n| `gru-512` | 900 |\n"
        );
        assert_eq!(markdown(Mode::Train, &[]), "");
    }
}
