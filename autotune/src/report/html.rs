//! A page without anything outside of it.

use std::fmt::Write;

const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;\
color:#1c2430}h2{margin-top:2.5rem;border-bottom:1px solid #ccd3dc}h3{font:600 13px ui-monospace,monospace;\
margin:1.6rem 0 .4rem}table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums}\
th,td{padding:.2rem .7rem;border-bottom:1px solid #e3e8ee;text-align:left}th{background:#f2f5f8}\
tr:first-child td{font-weight:600}figure{margin:.5rem 0 1.5rem}svg{max-width:100%;height:auto}";

pub(super) struct Page {
    text: String,
}

impl Page {
    pub(super) fn new(title: &str) -> Page {
        let title = escaped(title);
        Page {
            text: format!(
                "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n\
                 <style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
            ),
        }
    }

    pub(super) fn heading(&mut self, text: &str) {
        self.element("h2", text);
    }

    pub(super) fn subheading(&mut self, text: &str) {
        self.element("h3", text);
    }

    pub(super) fn paragraph(&mut self, text: &str) {
        self.element("p", text);
    }

    fn element(&mut self, name: &str, text: &str) {
        // Writing into a string cannot fail.
        let _ = writeln!(self.text, "<{name}>{}</{name}>", escaped(text));
    }

    /// A drawing; it is text of its own already.
    pub(super) fn figure(&mut self, svg: &str) {
        let _ = writeln!(self.text, "<figure>{svg}</figure>");
    }

    pub(super) fn table(&mut self, header: &[&str], rows: impl Iterator<Item = Vec<String>>) {
        let line = |cells: &mut dyn Iterator<Item = &str>, name: &str| {
            let cells: String = cells
                .map(|cell| format!("<{name}>{}</{name}>", escaped(cell)))
                .collect();
            format!("<tr>{cells}</tr>\n")
        };
        self.text.push_str("<table>\n<thead>");
        self.text.push_str(&line(&mut header.iter().copied(), "th"));
        self.text.push_str("</thead>\n<tbody>\n");
        for row in rows {
            let row = line(&mut row.iter().map(String::as_str), "td");
            self.text.push_str(&row);
        }
        self.text.push_str("</tbody>\n</table>\n");
    }

    pub(super) fn finish(mut self) -> String {
        self.text.push_str("</body>\n</html>\n");
        self.text
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        let mut page = Page::new("a<b");
        page.table(&["x"], std::iter::once(vec!["<script>".to_owned()]));
        let text = page.finish();
        assert!(text.contains("a&lt;b") && text.contains("&lt;script&gt;"));
        assert!(!text.contains("<script"));
    }
}
