//! Throughput and lag over time as one SVG. It refuses to know what they mean.

use std::fmt::Write;

const WIDTH: f64 = 900.0;
const PANEL_HEIGHT: f64 = 190.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 50.0;
const GAP: f64 = 50.0;
const TICKS: usize = 4;

pub struct Series<'a> {
    pub title: &'a str,
    pub color: &'a str,
    /// Seconds and values.
    pub points: &'a [(f64, f64)],
    /// A line across, and what it is.
    pub limit: Option<(f64, &'a str)>,
}

/// One panel below the other, over the same time.
pub fn svg(title: &str, panels: &[Series<'_>]) -> String {
    let height = TOP + panels.len() as f64 * (PANEL_HEIGHT + GAP);
    let seconds = panels.iter().flat_map(|panel| panel.points);
    let seconds = seconds.map(|point| point.0).fold(1.0, f64::max);
    let mut out = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12" fill="#333">
<rect width="100%" height="100%" fill="#fff"/>
<text x="{LEFT}" y="20" font-size="15">{title}</text>
"##
    );
    for (index, panel) in panels.iter().enumerate() {
        let top = TOP + index as f64 * (PANEL_HEIGHT + GAP);
        write_panel(&mut out, panel, top, seconds);
    }
    out.push_str("</svg>\n");
    out
}

fn write_panel(out: &mut String, panel: &Series<'_>, top: f64, seconds: f64) {
    let values = panel.points.iter().map(|point| point.1);
    let values = values.chain(panel.limit.map(|(limit, _)| limit));
    let most = round_up(values.fold(0.0, f64::max));
    let x = |at: f64| LEFT + at / seconds * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| top + PANEL_HEIGHT * (1.0 - value / most);
    let (right, bottom) = (WIDTH - RIGHT, top + PANEL_HEIGHT);
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        r#"<text x="{LEFT}" y="{}">{}</text>"#,
        top - 8.0,
        panel.title
    );
    for tick in 0..=TICKS {
        let value = most * tick as f64 / TICKS as f64;
        let at = y(value);
        let _ = writeln!(
            out,
            r##"<line x1="{LEFT}" y1="{at:.1}" x2="{right}" y2="{at:.1}" stroke="#ddd"/><text x="{}" y="{:.1}" text-anchor="end">{value}</text>"##,
            LEFT - 6.0,
            at + 4.0
        );
        let time = seconds * tick as f64 / TICKS as f64;
        let _ = writeln!(
            out,
            r#"<text x="{:.1}" y="{:.1}" text-anchor="middle">{time:.0} s</text>"#,
            x(time),
            bottom + 16.0
        );
    }
    if let Some((limit, name)) = panel.limit {
        let at = y(limit);
        let _ = writeln!(
            out,
            r##"<line x1="{LEFT}" y1="{at:.1}" x2="{right}" y2="{at:.1}" stroke="#c33" stroke-dasharray="5 4"/><text x="{right}" y="{:.1}" text-anchor="end" fill="#c33">{name}</text>"##,
            at - 4.0
        );
    }
    let points: Vec<_> = panel
        .points
        .iter()
        .map(|(at, value)| format!("{:.1},{:.1}", x(*at), y(*value)))
        .collect();
    let _ = writeln!(
        out,
        r#"<polyline points="{}" fill="none" stroke="{}" stroke-width="1.5"/>"#,
        points.join(" "),
        panel.color
    );
}

/// To 1, 2 or 4 times a power of ten, so that a quarter of it is a short number.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 4.0, 6.0, 8.0, 10.0];
    let step = steps.into_iter().find(|step| step * power >= value);
    step.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_has_a_line_for_every_series() {
        let points = [(0.0, 1.0), (1.0, 3.0)];
        let panel = |limit| Series {
            title: "t",
            color: "#000",
            points: &points,
            limit,
        };
        let text = svg("both", &[panel(None), panel(Some((2.0, "most")))]);
        assert_eq!(text.matches("<polyline").count(), 2);
        assert_eq!(text.matches("stroke-dasharray").count(), 1);
        assert!((round_up(3_100.0) - 4_000.0).abs() < 0.001);
    }
}
