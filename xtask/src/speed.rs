//! `cargo xtask speed`: draws the table of `docs/performance.md` as `docs/speed.svg`.
//!
//! The SVG is written by hand, because libraries for plots set colours that a reader's dark scheme
//! cannot change. The scale is logarithmic: the costs reach from 3 to 17,000 us.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::workspace::Workspace;

/// The page with the table.
const PAGE: &str = "docs/performance.md";

/// The drawing.
const DRAWING: &str = "docs/speed.svg";

/// How the header of the table begins.
const HEADER: &str = "| us per request |";

/// The width of the drawing, and the columns of its bars: from a cost of [`LEAST`] to [`MOST`].
const WIDTH: f64 = 860.0;
const LEFT: f64 = 110.0;
const RIGHT: f64 = 780.0;

/// The range of the scale in us, powers of ten.
const LEAST: f64 = 1.0;
const MOST: f64 = 100_000.0;

/// The height of the title with the scale, of a row's name, of a bar, and the space below a row.
const HEAD: f64 = 62.0;
const NAME: f64 = 20.0;
const BAR: f64 = 16.0;
const GAP: f64 = 12.0;

/// The colours of the light and the dark scheme. The bars of Sluice stand out.
const STYLE: &str = "\
  <style>
    text { fill: #1f2328 }
    text.note, text.series { fill: #57606a; font-size: 12px }
    text.series { text-anchor: end }
    text.title { font-weight: 600 }
    rect { fill: #afb8c1 }
    rect.own { fill: #0969da }
    path { stroke: #d0d7de }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 }
      text.note, text.series { fill: #8b949e }
      rect { fill: #6e7681 }
      rect.own { fill: #58a6ff }
      path { stroke: #30363d }
    }
  </style>
";

/// The series that are Sluice's own, by their names in the table.
const OWN: [&str; 2] = ["wasm", "libsluice.so"];

/// A table of costs.
#[derive(Debug, PartialEq)]
struct Table {
    /// The names of the columns after the first
    series: Vec<String>,
    rows: Vec<Row>,
}

/// A row: its name, and the costs in us that were measured, by column.
#[derive(Debug, PartialEq)]
struct Row {
    name: String,
    costs: Vec<Option<f64>>,
}

/// Writes the drawing anew.
///
/// # Errors
/// The page cannot be read or has no such table, or the drawing cannot be written.
pub fn write() -> Result<()> {
    let root = Workspace::load()?.root;
    let drawing = draw(&root)?;
    fs::write(root.join(DRAWING), drawing).context(DRAWING)
}

/// Draws the table of the page in the workspace `root`.
fn draw(root: &Path) -> Result<String> {
    let page = fs::read_to_string(root.join(PAGE)).context(PAGE)?;
    Ok(svg(&read(&page).context(PAGE)?))
}

/// Reads the table of a page.
fn read(page: &str) -> Result<Table> {
    let mut lines = page.lines().skip_while(|line| !line.starts_with(HEADER));
    let header = cells(lines.next().context("has no table of costs")?);
    let mut rows = Vec::new();
    for line in lines.skip(1).take_while(|line| line.starts_with('|')) {
        let mut cells = cells(line).into_iter();
        let name = cells.next().unwrap_or_default();
        let costs = cells.map(|cell| cost(&cell)).collect::<Result<Vec<_>>>();
        let costs = costs.with_context(|| name.clone())?;
        ensure!(costs.len() + 1 == header.len(), "{name}: has {} costs", costs.len());
        rows.push(Row { name, costs });
    }
    ensure!(!rows.is_empty(), "has a table without rows");
    Ok(Table { series: header.into_iter().skip(1).collect(), rows })
}

/// The cells of a line, without marks of code.
fn cells(line: &str) -> Vec<String> {
    let inner = line.trim().trim_matches('|');
    inner.split('|').map(|cell| cell.trim().replace('`', "")).collect()
}

/// A cost with separators of thousands, or `None` for an empty cell.
fn cost(cell: &str) -> Result<Option<f64>> {
    if cell.is_empty() {
        return Ok(None);
    }
    let cost: f64 = cell.replace(',', "").parse().with_context(|| format!("{cell:?}"))?;
    ensure!((0.0..=MOST).contains(&cost), "{cell} is outside of the scale");
    Ok(Some(cost))
}

/// The column of a cost. Costs below the scale have no bar.
fn column(cost: f64) -> f64 {
    let share = (cost.max(LEAST) / LEAST).log10() / (MOST / LEAST).log10();
    LEFT + share * (RIGHT - LEFT)
}

fn svg(table: &Table) -> String {
    let bars = |row: &Row| row.costs.iter().flatten().count() as f64;
    let height_of = |row: &Row| NAME + bars(row) * BAR + GAP;
    let height = HEAD + table.rows.iter().map(height_of).sum::<f64>();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         font-family=\"system-ui, sans-serif\" font-size=\"14\">\n  <title>CPU time that filters \
         add to a request, in microseconds</title>\n{STYLE}"
    );
    line(&mut svg, &text(LEFT, 18.0, "title", "CPU time added to a request, in us"));
    let note = "logarithmic scale: each line is ten times the one before; shorter is better";
    line(&mut svg, &text(LEFT, 36.0, "note", note));
    let mut mark = LEAST;
    while mark <= MOST {
        let x = column(mark);
        line(&mut svg, &format!("<path d=\"M{x:.1} {HEAD}V{height}\"/>"));
        line(&mut svg, &text(x + 3.0, HEAD - 6.0, "note", &thousands(mark)));
        mark *= 10.0;
    }
    let mut y = HEAD;
    for row in &table.rows {
        line(&mut svg, &text(LEFT, y + 15.0, "title", &row.name));
        y += NAME;
        for (series, cost) in table.series.iter().zip(&row.costs) {
            let Some(cost) = *cost else { continue };
            bar(&mut svg, y, series, cost);
            y += BAR;
        }
        y += GAP;
    }
    svg.push_str("</svg>\n");
    svg
}

/// Adds a bar with the name of its series and its cost.
fn bar(svg: &mut String, y: f64, series: &str, cost: f64) {
    line(svg, &text(LEFT - 8.0, y + 11.0, "series", series));
    let width = column(cost) - LEFT;
    if width > 0.0 {
        let class = if OWN.contains(&series) { " class=\"own\"" } else { "" };
        let height = BAR - 4.0;
        let bar = format!(
            "<rect{class} x=\"{LEFT}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{height}\"/>",
            y + 1.0
        );
        line(svg, &bar);
    }
    line(svg, &text(column(cost) + 5.0, y + 11.0, "note", &thousands(cost)));
}

fn line(svg: &mut String, element: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(svg, "  {element}");
}

fn text(x: f64, y: f64, class: &str, content: &str) -> String {
    let content = content.replace('&', "&amp;").replace('<', "&lt;");
    format!("<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{content}</text>")
}

/// A whole number with separators of thousands.
fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut shown = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "Costs:\n\n| us per request | wasm | `lib` |\n|---|---:|---:|\n\
                         | a rule | 10 | |\n| b & c | 0 | 16,999 |\n\nMore.\n";

    #[test]
    fn the_drawing_is_that_of_the_table() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let drawing = fs::read_to_string(root.join(DRAWING)).unwrap();
        assert!(drawing == draw(&root).unwrap(), "cargo xtask speed writes {DRAWING} anew");
    }

    #[test]
    fn tables_have_names_and_costs() {
        let table = read(TABLE).unwrap();
        assert_eq!(table.series, ["wasm", "lib"]);
        let row = |name: &str, costs| Row { name: name.to_owned(), costs };
        let rows =
            [row("a rule", vec![Some(10.0), None]), row("b & c", vec![Some(0.0), Some(16_999.0)])];
        assert_eq!(table.rows, rows);
        for (right, wrong) in [("| 10 ", "| ten "), ("| 10 ", "| 200,000 "), (" |\n| b", "\n| b")] {
            assert!(read(&TABLE.replace(right, wrong)).is_err(), "{wrong}");
        }
        assert!(read("no table").is_err());
    }

    #[test]
    fn ten_times_the_cost_is_a_fifth_of_the_width_more() {
        let step = (RIGHT - LEFT) / 5.0;
        for (cost, steps) in [(0.0, 0.0), (1.0, 0.0), (10.0, 1.0), (1000.0, 3.0), (MOST, 5.0)] {
            assert!((column(cost) - LEFT - steps * step).abs() < 1e-9, "{cost}");
        }
    }

    #[test]
    fn each_cost_has_a_bar_with_its_number() {
        let svg = svg(&read(TABLE).unwrap());
        assert_eq!(svg.matches("<rect x=").count(), 1, "{svg}");
        assert_eq!(svg.matches("<rect class=\"own\"").count(), 1, "{svg}");
        for shown in [">16,999<", ">0<", ">b &amp; c<", ">a rule<"] {
            assert!(svg.contains(shown), "{shown}: {svg}");
        }
    }
}
