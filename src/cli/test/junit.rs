//! Results as JUnit XML, the form that continuous integration reads (the schema of Apache Ant's JUnit task, with `file` and `line` as
//! GitLab and others look for).

use super::Ended;
use std::fmt::Write;

pub fn report(all: &[Ended]) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(xml, "<testsuites {}>", totals(all));
    for suite in all.chunk_by(|a, b| a.file == b.file) {
        let file = escape(&suite.first().map(|ended| ended.file.display().to_string()).unwrap_or_default());
        let _ = writeln!(xml, "  <testsuite name=\"{file}\" {}>", totals(suite));
        for ended in suite {
            let name = escape(&ended.name);
            let seconds = ended.took.as_secs_f64();
            let place = format!("file=\"{file}\" line=\"{}\"", ended.line);
            let _ = write!(xml, "    <testcase name=\"{name}\" classname=\"{file}\" {place} time=\"{seconds:.3}\"");
            match &ended.failure {
                None => xml.push_str("/>\n"),
                Some(failure) => {
                    let (message, report) = (escape(&failure.message), escape(&failure.report));
                    let _ = writeln!(xml, ">\n      <failure message=\"{message}\">{report}</failure>");
                    if !failure.log.is_empty() {
                        let _ = writeln!(xml, "      <system-err>{}</system-err>", escape(&failure.log.join("\n")));
                    }
                    xml.push_str("    </testcase>\n");
                }
            }
        }
        xml.push_str("  </testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}

fn totals(all: &[Ended]) -> String {
    let failures = all.iter().filter(|ended| ended.failure.is_some()).count();
    let seconds: f64 = all.iter().map(|ended| ended.took.as_secs_f64()).sum();
    format!("tests=\"{}\" failures=\"{failures}\" errors=\"0\" time=\"{seconds:.3}\"", all.len())
}

/// For text and for attributes, where a line feed as such would become a blank. What XML 1.0 can't hold at all (§2.2) becomes U+FFFD.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\r' | '\t' => {
                let _ = write!(out, "&#{};", u32::from(c));
            }
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::Failure;
    use std::time::Duration;

    #[test]
    fn whatever_a_script_says_stays_text() {
        assert_eq!(escape("a<b>&\"\n\u{0}\u{1b}[31mé"), "a&lt;b&gt;&amp;&quot;&#10;\u{fffd}\u{fffd}[31mé");
    }

    #[test]
    fn a_report_counts_by_file() {
        let ended = |name: &str, failure| Ended {
            file: "a_test.lua".into(),
            name: name.to_owned(),
            line: 3,
            took: Duration::from_millis(2),
            failure,
        };
        let failure = Failure { message: "expected 1".into(), report: "a_test.lua:4".into(), log: Vec::new() };
        let expected = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="2" failures="1" errors="0" time="0.004">
  <testsuite name="a_test.lua" tests="2" failures="1" errors="0" time="0.004">
    <testcase name="test_a" classname="a_test.lua" file="a_test.lua" line="3" time="0.002"/>
    <testcase name="test_b" classname="a_test.lua" file="a_test.lua" line="3" time="0.002">
      <failure message="expected 1">a_test.lua:4</failure>
    </testcase>
  </testsuite>
</testsuites>
"#;
        assert_eq!(report(&[ended("test_a", None), ended("test_b", Some(failure))]), expected);
    }
}
