//! The screen as a picture for the README: what a terminal shows of the lines that are drawn on it.

use super::{Size, Style};

/// A character of a usual font, in pixels. Text is stretched to it, whatever font there is.
const ADVANCE: f64 = 8.4;
const LINE: usize = 18;
const MARGIN: usize = 14;

/// Lines as [`frame`](super::frame) makes them with colours, as SVG.
pub(super) fn picture(lines: &[String], size: Size) -> String {
    let (width, height) =
        ((size.columns as f64 * ADVANCE).ceil() as usize + 2 * MARGIN, size.rows * LINE + 2 * MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\">\n\
         <title>wgautomesh status --watch</title>\n\
         <style>text{{font:14px ui-monospace,\"DejaVu Sans Mono\",Menlo,Consolas,monospace;fill:#d7dce2;white-space:pre}}\
         .dim{{fill:#7d8794}}.bold{{font-weight:700;fill:#fff}}.good{{fill:#5fd38a}}.busy{{fill:#e8b84b}}.bad{{fill:#f2777a}}</style>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#14181d\"/>\n"
    );
    for (row, line) in lines.iter().enumerate() {
        let baseline = MARGIN + row * LINE + 14;
        let mut column = 0;
        for (class, text) in pieces(line) {
            let count = text.chars().count();
            // A browser draws no blanks at the beginning.
            let blanks = text.chars().take_while(|c| *c == ' ').count();
            let text = text.trim_start();
            if !text.is_empty() {
                let class = class.map(|class| format!(" class=\"{class}\"")).unwrap_or_default();
                let x = MARGIN as f64 + (column + blanks) as f64 * ADVANCE;
                let length = text.chars().count() as f64 * ADVANCE;
                let text = text.replace('&', "&amp;").replace('<', "&lt;");
                svg.push_str(&format!(
                    "<text x=\"{x:.1}\" y=\"{baseline}\" textLength=\"{length:.1}\" lengthAdjust=\"spacingAndGlyphs\"{class}>{text}</text>\n"
                ));
            }
            column += count;
        }
    }
    svg + "</svg>\n"
}

/// Text, with what it looks like.
fn pieces(line: &str) -> impl Iterator<Item = (Option<&'static str>, &str)> {
    let mut parts = line.split("\x1b[");
    let first = parts.next().into_iter().map(|text| (None, text));
    first.chain(parts.filter_map(|part| {
        let (code, text) = part.split_once('m')?;
        Some((class(code), text))
    }))
}

fn class(code: &str) -> Option<&'static str> {
    [
        (Style::Dim, "dim"),
        (Style::Bold, "bold"),
        (Style::Good, "good"),
        (Style::Busy, "busy"),
        (Style::Bad, "bad"),
    ]
    .into_iter()
    .find_map(|(style, class)| (style.code() == Some(code)).then_some(class))
}
