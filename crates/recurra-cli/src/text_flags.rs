//! The flags that say how files become text.

use clap::Args;
use recurra::data::TextOptions;

/// How to read files; the same for every command that reads text.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
#[command(next_help_heading = "Reading text")]
pub struct TextFlags {
    /// Take only files like this from folders ('*.md', 'docs/**/*.txt'); may be given several times
    #[arg(long, value_name = "PATTERN")]
    pub include: Vec<String>,
    /// Field of JSON lines that holds the text [default: text]
    #[arg(long, value_name = "NAME")]
    pub field: Option<String>,
    /// Column of CSV and TSV files that holds the text [default: text]
    #[arg(long, value_name = "NAME")]
    pub column: Option<String>,
    /// Go on where bytes are not UTF-8; each becomes U+FFFD
    #[arg(long)]
    pub lossy: bool,
}

impl TextFlags {
    /// What the library is asked for.
    pub fn options(&self) -> TextOptions {
        TextOptions {
            include: self.include.clone(),
            field: self.field.clone(),
            column: self.column.clone(),
            lossy: self.lossy,
        }
    }
}
