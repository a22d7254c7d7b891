//! The two text formats: Prometheus' 0.0.4 and OpenMetrics 1.0.
//!
//! They differ in little: OpenMetrics names a counter's family without `_total` and ends with `# EOF`.

use super::cells::{BOUNDS, Histogram};
use std::fmt::{Display, Write};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Prometheus,
    OpenMetrics,
}

impl Format {
    /// What an `Accept` header asks for: OpenMetrics when it is named at all, since only those name it who prefer it.
    pub fn accepted(accept: &str) -> Format {
        if accept.contains("application/openmetrics-text") { Format::OpenMetrics } else { Format::Prometheus }
    }

    pub const fn content_type(self) -> &'static str {
        match self {
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// A page being written.
pub struct Text {
    format: Format,
    out: String,
    family: String,
}

pub type Labels<'a> = &'a [(&'a str, &'a str)];

impl Text {
    pub fn new(format: Format) -> Text {
        Text { format, out: String::with_capacity(16 << 10), family: String::new() }
    }

    /// Begins a counter's family; its name is given without `_total`.
    pub fn counter(&mut self, name: &str, help: &str) {
        let family = match self.format {
            Format::Prometheus => format!("{name}_total"),
            Format::OpenMetrics => name.to_owned(),
        };
        self.begin(&family, "counter", help);
        self.family = format!("{name}_total");
    }

    pub fn gauge(&mut self, name: &str, help: &str) {
        self.begin(name, "gauge", help);
    }

    pub fn histogram(&mut self, name: &str, help: &str) {
        self.begin(name, "histogram", help);
    }

    fn begin(&mut self, family: &str, kind: &str, help: &str) {
        let _ = writeln!(self.out, "# HELP {family} {}\n# TYPE {family} {kind}", Escaped(help, false));
        self.family = family.to_owned();
    }

    /// A sample of the family that was begun.
    pub fn sample(&mut self, labels: Labels<'_>, value: impl Display) {
        self.line("", labels, None, value);
    }

    pub fn distribution(&mut self, labels: Labels<'_>, histogram: &Histogram) {
        let bounds = BOUNDS.iter().map(|(_, seconds)| *seconds);
        self.buckets(labels, bounds, &histogram.counts(), histogram.seconds());
    }

    /// A histogram's lines. `counts` has one more than there are bounds: what lies above them all.
    pub fn buckets<'b>(
        &mut self,
        labels: Labels<'_>,
        bounds: impl Iterator<Item = &'b str>,
        counts: &[u64],
        sum: impl Display,
    ) {
        let mut total = 0;
        for (bound, count) in bounds.chain(["+Inf"]).zip(counts) {
            total += count;
            self.line("_bucket", labels, Some(bound), total);
        }
        self.line("_count", labels, None, total);
        self.line("_sum", labels, None, sum);
    }

    fn line(&mut self, suffix: &str, labels: Labels<'_>, bound: Option<&str>, value: impl Display) {
        self.out.push_str(&self.family);
        self.out.push_str(suffix);
        let all = labels.iter().copied().chain(bound.map(|bound| ("le", bound)));
        for (at, (name, value)) in all.enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            let _ = write!(self.out, "{before}{name}=\"{}\"", Escaped(value, true));
        }
        if !labels.is_empty() || bound.is_some() {
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {value}");
    }

    pub fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
        self.out
    }
}

/// Both formats escape the backslash and the line feed, and in labels the quote.
struct Escaped<'a>(&'a str, bool);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in self.0.chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '"' if self.1 => f.write_str("\\\"")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(format: Format) -> String {
        let mut text = Text::new(format);
        text.counter("a", "What\nit is.");
        text.sample(&[("x", "\"\\\n")], 1);
        text.gauge("b", "B.");
        text.sample(&[], 0.5);
        text.histogram("c", "C.");
        text.buckets(&[("x", "y")], ["1.0"].into_iter(), &[1, 2], 7.5);
        text.finish()
    }

    #[test]
    fn both_formats_to_the_letter() {
        let rest = "# HELP b B.\n# TYPE b gauge\nb 0.5\n# HELP c C.\n# TYPE c histogram\n\
                    c_bucket{x=\"y\",le=\"1.0\"} 1\nc_bucket{x=\"y\",le=\"+Inf\"} 3\nc_count{x=\"y\"} 3\nc_sum{x=\"y\"} 7.5\n";
        let sample = "a_total{x=\"\\\"\\\\\\n\"} 1\n";
        let prometheus = format!("# HELP a_total What\\nit is.\n# TYPE a_total counter\n{sample}{rest}");
        let open = format!("# HELP a What\\nit is.\n# TYPE a counter\n{sample}{rest}# EOF\n");
        assert_eq!(page(Format::Prometheus), prometheus);
        assert_eq!(page(Format::OpenMetrics), open);
    }
}
