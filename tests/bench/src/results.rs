//! Tables of results: printed as Markdown, stored as JSON, and compared with an earlier run.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sluice_e2e::workspace;

/// Numbers in microseconds unless the title says otherwise.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Table {
    title: String,
    columns: Vec<String>,
    /// The column that is compared with an earlier run; the last one if it is absent
    #[serde(skip)]
    compared: Option<usize>,
    rows: Vec<Row>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Row {
    name: String,
    values: Vec<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quartiles: Option<(f64, f64)>,
}

/// Directory of the results.
pub fn folder() -> PathBuf {
    workspace().join("target/bench")
}

fn baseline() -> PathBuf {
    workspace().join("tests/bench/baseline.json")
}

impl Table {
    /// Creates a table without rows. A last column `quartiles` contains the quartiles of the column
    /// before it.
    pub fn new(title: &str, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|&column| column.to_owned()).collect();
        Self { title: title.to_owned(), columns, compared: None, rows: Vec::new() }
    }

    /// Compares the column with this index with an earlier run, and not the last one.
    #[must_use]
    pub fn comparing(self, column: usize) -> Self {
        Self { compared: Some(column), ..self }
    }

    /// Adds a row.
    pub fn row(&mut self, name: &str, values: &[f64], quartiles: Option<(f64, f64)>) {
        self.rows.push(Row { name: name.to_owned(), values: values.to_vec(), quartiles });
    }

    /// Formats the table as Markdown, with a column for the earlier run.
    fn markdown(&self, earlier: &[Self]) -> String {
        let earlier = earlier.iter().find(|table| table.title == self.title);
        let mut text = format!("### {}\n\n| |", self.title);
        for column in &self.columns {
            let _ = write!(text, " {column} |");
        }
        text.push_str(" baseline |\n|---|");
        text.push_str(&"---:|".repeat(self.columns.len() + 1));
        text.push('\n');
        for row in &self.rows {
            let _ = write!(text, "| {} |", row.name);
            for value in &row.values {
                let _ = write!(text, " {value:.2} |");
            }
            if let Some((lower, upper)) = row.quartiles {
                let _ = write!(text, " {lower:.2} .. {upper:.2} |");
            }
            let before = earlier
                .and_then(|table| table.rows.iter().find(|before| before.name == row.name))
                .and_then(|before| match self.compared {
                    Some(column) => before.values.get(column),
                    None => before.values.last(),
                });
            let _ = match before {
                Some(before) => writeln!(text, " {before:.2} |"),
                None => writeln!(text, " - |"),
            };
        }
        text
    }
}

/// Prints the tables and writes them to `target/bench/NAME.md` and `NAME.json`.
///
/// # Panics
/// If they cannot be written.
pub fn report(name: &str, tables: &[Table]) {
    let earlier = read(&baseline());
    let markdown: Vec<_> = tables.iter().map(|table| table.markdown(&earlier)).collect();
    let markdown = markdown.join("\n");
    println!("{markdown}");
    let folder = folder();
    std::fs::create_dir_all(&folder).expect("a folder for the results");
    std::fs::write(folder.join(format!("{name}.md")), markdown).expect("a file of results");
    let json = serde_json::to_string_pretty(tables).expect("JSON");
    std::fs::write(folder.join(format!("{name}.json")), json + "\n").expect("a file of results");
}

/// Stores the results of this run as the baseline of later ones.
///
/// # Panics
/// If there are none, or they cannot be written.
pub fn keep(names: &[&str]) {
    let tables: Vec<Table> =
        names.iter().flat_map(|name| read(&folder().join(format!("{name}.json")))).collect();
    assert!(!tables.is_empty(), "there are no results in {}", folder().display());
    let json = serde_json::to_string_pretty(&tables).expect("JSON");
    std::fs::write(baseline(), json + "\n").expect("the file of the baseline");
}

fn read(path: &Path) -> Vec<Table> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_compare_the_last_number_with_the_earlier_run() {
        let mut earlier = Table::new("Costs", &["all", "added", "quartiles"]);
        earlier.row("a filter", &[11.0, 4.0], Some((3.0, 5.0)));
        let mut table = Table::new("Costs", &["all", "added", "quartiles"]);
        table.row("a filter", &[12.0, 3.456], Some((3.0, 4.0)));
        table.row("another", &[13.0, 5.0], Some((3.0, 4.0)));
        let markdown = table.markdown(&[earlier]);
        let rows: Vec<_> = markdown.lines().skip(2).collect();
        let expected = [
            "| | all | added | quartiles | baseline |",
            "|---|---:|---:|---:|---:|",
            "| a filter | 12.00 | 3.46 | 3.00 .. 4.00 | 4.00 |",
            "| another | 13.00 | 5.00 | 3.00 .. 4.00 | - |",
        ];
        assert_eq!(rows, expected);
    }

    #[test]
    fn a_table_may_compare_another_column() {
        let mut earlier = Table::new("Costs", &["ours", "theirs"]);
        earlier.row("10 rules", &[3.0, 9.0], None);
        let mut table = Table::new("Costs", &["ours", "module", "theirs"]).comparing(0);
        table.row("10 rules", &[2.0, 1.0, 8.0], None);
        let markdown = table.markdown(&[earlier]);
        assert!(markdown.ends_with("| 10 rules | 2.00 | 1.00 | 8.00 | 3.00 |\n"), "{markdown}");
    }
}
