//! Plots: the cost of requests by the number of rules, and memory by time.

use plotters::prelude::*;

use crate::results::folder;

/// Minimum cost in the plot; smaller differences are noise.
const FLOOR: f64 = 0.1;

/// Writes `target/bench/rules-KIND.svg`, with a line for each name.
///
/// # Panics
/// If it cannot be written.
pub fn write(kind: &str, names: &[&str], series: &[Vec<(f64, f64)>]) {
    let folder = folder();
    std::fs::create_dir_all(&folder).expect("a folder for the results");
    let name = format!("rules-{}.svg", kind.replace(' ', "-"));
    draw(&folder.join(&name), kind, names, series).expect("a plot");
    println!("plotted in target/bench/{name}\n");
}

fn draw(
    file: &std::path::Path,
    kind: &str,
    names: &[&str],
    series: &[Vec<(f64, f64)>],
) -> Result<(), Box<dyn std::error::Error>> {
    let points = || series.iter().flatten();
    let most = points().map(|(_, cost)| *cost).fold(10.0, f64::max) * 2.0;
    let rules = points().map(|(count, _)| *count).fold(10.0, f64::max);
    let root = SVGBackend::new(file, (720, 440)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(format!("Added to a request, rules by {kind}"), ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d((1.0..rules).log_scale(), (FLOOR..most).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("rules")
        .y_desc("microseconds of processor time")
        .light_line_style(TRANSPARENT)
        .draw()?;
    let colors = [BLUE, GREEN, RED];
    for ((name, points), color) in names.iter().zip(series).zip(colors) {
        let points: Vec<_> = points.iter().map(|(count, cost)| (*count, cost.max(FLOOR))).collect();
        chart
            .draw_series(LineSeries::new(points.clone(), &color))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color));
        chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, color.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .border_style(BLACK)
        .draw()?;
    root.present()?;
    Ok(())
}

/// Writes `target/bench/NAME.svg`, with the memory in MiB by the time in minutes.
///
/// # Panics
/// If it cannot be written.
pub fn memory(name: &str, points: &[(f64, f64)]) {
    let folder = folder();
    std::fs::create_dir_all(&folder).expect("a folder for the results");
    let file = folder.join(format!("{name}.svg"));
    draw_memory(&file, points).expect("a plot");
    println!("plotted in target/bench/{name}.svg");
}

fn draw_memory(
    file: &std::path::Path,
    points: &[(f64, f64)],
) -> Result<(), Box<dyn std::error::Error>> {
    let most = |value: fn(&(f64, f64)) -> f64| points.iter().map(value).fold(1.0, f64::max);
    let (minutes, memory) = (most(|(time, _)| *time), most(|(_, memory)| *memory) * 1.2);
    let root = SVGBackend::new(file, (720, 320)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption("Memory at full load, with updates", ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..minutes, 0.0..memory)?;
    chart.configure_mesh().x_desc("minutes").y_desc("MiB resident").draw()?;
    chart.draw_series(LineSeries::new(points.iter().copied(), &BLUE))?;
    root.present()?;
    Ok(())
}
