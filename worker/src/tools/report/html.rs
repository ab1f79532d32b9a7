//! A page of HTML, complete in itself: styles and pictures inside, no scripts,
//! nothing to fetch. What it says is well-formed XML too.

use outshine_figures::chart::FULL_WIDTH;
use std::fmt::Write as _;

/// Width of the page, in units of a figure's canvas.
const WHOLE: f64 = FULL_WIDTH as f64;
/// What a page may load: nothing but the styles and images inside it.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";
/// An icon of no pixels: without one, browsers ask the server for theirs.
const ICON: &str = "data:,";
const STYLE: &str = "\
body { font: 16px/1.5 'DejaVu Sans', Verdana, sans-serif; color: #141414; background: #fff; \
max-width: 72rem; margin: 2rem auto; padding: 0 1.5rem; }
h1 { font-size: 1.7rem; margin-bottom: 0.2rem; }
h2 { font-size: 1.3rem; border-bottom: 2px solid #0072b2; margin-top: 2.8rem; }
h3 { font-size: 1.05rem; margin: 1.8rem 0 0.4rem; }
nav a { margin-right: 1.2rem; }
a { color: #005a8c; }
p { max-width: 52rem; }
code { font-family: 'DejaVu Sans Mono', monospace; font-size: 0.85em; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.85rem; margin: 0.6rem 0 0.2rem; \
font-variant-numeric: tabular-nums; }
th, td { padding: 0.15rem 0.7rem; text-align: right; white-space: nowrap; }
th { border-bottom: 1px solid #141414; border-top: 2px solid #141414; }
tr:last-child td { border-bottom: 2px solid #141414; }
th.text, td.text { text-align: left; }
td.long { white-space: normal; overflow-wrap: anywhere; }
figure { margin: 1rem 0 1.6rem; }
figure svg { display: block; max-width: 100%; height: auto; }
figcaption, .note { font-size: 0.85rem; color: #444; max-width: 56rem; }
.warning { border-left: 4px solid #d55e00; padding: 0.1rem 0.8rem; background: #fdf3ec; }
@media print { body { max-width: none; margin: 0; font-size: 10pt; } nav { display: none; }
figure, tr { break-inside: avoid; } h2, h3 { break-after: avoid; } .wide { overflow: visible; }
th, td { padding: 0.1rem 0.35rem; } table { font-size: 0.7rem; } }
";

/// Text as HTML and XML have it; signs that XML cannot have are marked.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for sign in text.chars() {
        match sign {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\t' | '\n' | '\r' => out.push(sign),
            '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => {
                out.push('\u{fffd}');
            }
            _ => out.push(sign),
        }
    }
    out
}

/// A number with a true minus sign; a dash for none.
#[must_use]
pub fn number(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return "\u{2013}".to_owned();
    }
    let text = format!("{value:.digits$}");
    // No minus before nothing.
    match text.strip_prefix('-') {
        Some(rest) if rest.trim_matches(['0', '.']).is_empty() => rest.to_owned(),
        Some(rest) => format!("\u{2212}{rest}"),
        None => text,
    }
}

/// A table; cells are text, not HTML.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    head: Vec<&'static str>,
    /// Columns of text, which stand at the left.
    text: usize,
    rows: Vec<Vec<String>>,
}

impl Rows {
    /// A table whose first `text` columns are text, the others numbers.
    #[must_use]
    pub fn new(head: &[&'static str], text: usize) -> Self {
        Self { head: head.to_vec(), text, rows: Vec::new() }
    }

    /// Adds a row.
    ///
    /// # Panics
    /// When it has another number of cells than the head.
    pub fn add(&mut self, cells: Vec<String>) {
        assert_eq!(cells.len(), self.head.len(), "one cell per column");
        self.rows.push(cells);
    }

    /// Whether it has no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// For a terminal: columns as wide as they must be.
    #[must_use]
    pub fn plain(&self) -> String {
        let head: Vec<String> = self.head.iter().map(|h| (*h).to_owned()).collect();
        let all: Vec<&Vec<String>> = std::iter::once(&head).chain(&self.rows).collect();
        let long = |column: usize| all.iter().map(|row| row[column].chars().count()).max();
        let widths: Vec<usize> = (0..head.len()).filter_map(long).collect();
        let mut out = String::new();
        for row in all {
            for (column, cell) in row.iter().enumerate() {
                let width = widths[column];
                let _ = match column < self.text {
                    true => write!(out, "{cell:<width$}  "),
                    false => write!(out, "{cell:>width$}  "),
                };
            }
            out.truncate(out.trim_end().len());
            out.push('\n');
        }
        out
    }
}

/// A page in the making.
#[derive(Clone, Debug)]
pub struct Page {
    title: String,
    contents: Vec<String>,
    body: String,
}

impl Page {
    /// An empty page.
    #[must_use]
    pub fn new(title: &str) -> Self {
        Self { title: title.to_owned(), contents: Vec::new(), body: String::new() }
    }

    /// Begins a section, which the contents name.
    pub fn section(&mut self, title: &str) {
        self.contents.push(title.to_owned());
        let (number, title) = (self.contents.len(), escape(title));
        let _ = writeln!(self.body, "<h2 id=\"section-{number}\">{number}. {title}</h2>");
    }

    /// Begins a part of a section.
    pub fn part(&mut self, title: &str) {
        let _ = writeln!(self.body, "<h3>{}</h3>", escape(title));
    }

    /// A paragraph.
    pub fn say(&mut self, text: &str) {
        let _ = writeln!(self.body, "<p>{}</p>", escape(text));
    }

    /// A remark in small letters.
    pub fn note(&mut self, text: &str) {
        let _ = writeln!(self.body, "<p class=\"note\">{}</p>", escape(text));
    }

    /// A paragraph that stands out.
    pub fn warn(&mut self, text: &str) {
        let _ = writeln!(self.body, "<p class=\"warning\">{}</p>", escape(text));
    }

    /// A list of facts.
    pub fn facts(&mut self, facts: &[(&str, String)]) {
        self.body.push_str("<div class=\"wide\"><table>\n");
        for (name, value) in facts {
            let (name, value) = (escape(name), escape(value));
            let _ = writeln!(
                self.body,
                "<tr><td class=\"text\">{name}</td><td class=\"text long\"><code>{value}</code></td></tr>"
            );
        }
        self.body.push_str("</table></div>\n");
    }

    /// A table and what it is.
    pub fn table(&mut self, rows: &Rows, caption: &str) {
        let class = |column: usize| if column < rows.text { " class=\"text\"" } else { "" };
        self.body.push_str("<div class=\"wide\"><table>\n<tr>");
        for (column, head) in rows.head.iter().enumerate() {
            let _ = write!(self.body, "<th{}>{}</th>", class(column), escape(head));
        }
        self.body.push_str("</tr>\n");
        for row in &rows.rows {
            self.body.push_str("<tr>");
            for (column, cell) in row.iter().enumerate() {
                let _ = write!(self.body, "<td{}>{}</td>", class(column), escape(cell));
            }
            self.body.push_str("</tr>\n");
        }
        self.body.push_str("</table></div>\n");
        self.note(caption);
    }

    /// A figure as SVG, and what it shows.
    pub fn figure(&mut self, svg: &str, caption: &str) {
        // All figures in one scale, so that their letters are of one size.
        let width = svg.split_once(" width=\"").and_then(|(_, rest)| rest.split_once('"'));
        let width: f64 = width.and_then(|(width, _)| width.parse().ok()).unwrap_or(WHOLE);
        let part = (100.0 * width / WHOLE).min(100.0);
        let style = format!("<svg style=\"width: {part:.2}%\" ");
        let (svg, caption) = (svg.trim_end().replacen("<svg ", &style, 1), escape(caption));
        let _ = writeln!(self.body, "<figure>{svg}\n<figcaption>{caption}</figcaption></figure>");
    }

    /// The whole page.
    #[must_use]
    pub fn finish(self) -> String {
        let title = escape(&self.title);
        let mut out = format!(
            "<!DOCTYPE html>\n<html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\">\n<head>\n\
             <meta charset=\"utf-8\" />\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\" />\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\" />\n\
             <link rel=\"icon\" href=\"{ICON}\" />\n\
             <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n\
             <nav>"
        );
        for (i, section) in self.contents.iter().enumerate() {
            let _ = write!(out, "<a href=\"#section-{}\">{}</a> ", i + 1, escape(section));
        }
        out.push_str("</nav>\n");
        out.push_str(&self.body);
        out.push_str("</body>\n</html>\n");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that a user can name goes through here.
    #[test]
    fn no_text_becomes_markup() {
        let evil = "</title><script>alert('x')</script>&amp;\u{0}\u{b}\"";
        let mut page = Page::new(evil);
        page.section(evil);
        page.part(evil);
        page.say(evil);
        page.note(evil);
        page.warn(evil);
        page.facts(&[(evil, evil.to_owned())]);
        let mut rows = Rows::new(&["a", "b"], 1);
        rows.add(vec![evil.to_owned(), evil.to_owned()]);
        page.table(&rows, evil);
        page.figure("<svg width=\"1070\"></svg>\n", evil);
        let html = page.finish();
        assert!(!html.contains("<script"), "{html}");
        assert!(!html.contains(['\u{0}', '\u{b}']));
        // Title, heading, contents, section, part, three paragraphs, two facts,
        // two cells and two captions.
        assert_eq!(html.matches("&lt;script&gt;alert(&#39;x&#39;)").count(), 14);
        assert!(html.contains("&amp;amp;") && html.contains("<svg style=\"width: 50.00%\" "));
    }

    #[test]
    fn numbers_have_no_empty_minus() {
        assert_eq!(number(-0.0004, 3), "0.000");
        assert_eq!(number(-1.25, 1), "\u{2212}1.2");
        assert_eq!((number(f64::NAN, 2), number(0.5, 2)), ("\u{2013}".into(), "0.50".into()));
    }

    #[test]
    fn a_table_is_plain_text_too() {
        let mut rows = Rows::new(&["name", "n"], 1);
        rows.add(vec!["a".into(), "10".into()]);
        rows.add(vec!["longer".into(), "7".into()]);
        assert_eq!(rows.plain(), "name     n\na       10\nlonger   7\n");
    }
}
