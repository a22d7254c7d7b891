//! Reading a file again: what stands as it stood, before and after the place of a change, is not parsed a second time.
//!
//! Of a block sequence (`- …` below each other), items that have not changed are cut out of the text, the parser reads what is left,
//! and the nodes of last time are put back. It finds what it would have found in the whole text, since it reads from left to right,
//! and an item without anchors leaves nothing behind: at the next dash everything is as it was at the dash before. So the first item
//! of a list stays and tells that there is one, an item whose next dash is not the same stays, and so does the first one behind the
//! change: it must be found where it is looked for, or all is read. A file with anchors or mistakes is always read whole.

use std::ops::Range;
use std::sync::Arc;

use super::diagnostic::Diagnostics;
use super::expand::Expander;
use super::node::{Node, Value};
use super::source::Source;
use super::yaml::{self, Cut, Parsed};

/// A file as it was read.
#[derive(Debug)]
pub struct Document {
    source: Arc<Source>,
    pub(super) root: Node,
    /// Whether parts of it may be taken over.
    is_plain: bool,
}

/// Parses `source`, as far as it is not what it was `before`.
pub(super) fn parse(
    source: &Arc<Source>,
    before: Option<Document>,
    expander: &mut Expander<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Document> {
    let again = before.filter(|before| before.is_plain).and_then(|before| before.again(source, expander));
    if let Some(root) = again {
        return Some(Document { source: source.clone(), root, is_plain: true });
    }
    let Parsed { root, has_anchors } = yaml::parse(source, expander, diagnostics)?;
    Some(Document { source: source.clone(), root, is_plain: diagnostics.is_empty() && !has_anchors })
}

impl Document {
    /// The tree of `source`; nothing when it has to be read whole.
    fn again(self, source: &Arc<Source>, expander: &mut Expander<'_>) -> Option<Node> {
        let mut reread = Reread::new(&self.source, source);
        reread.cut(self.root, 0);
        let Reread { mut left, copied, cuts, .. } = reread;
        left.push_str(&source.text()[copied..]);
        let mut diagnostics = Diagnostics::new();
        let Parsed { root, has_anchors } = yaml::parse_around(source, &left, cuts, expander, &mut diagnostics)?;
        (diagnostics.is_empty() && !has_anchors).then_some(root)
    }
}

struct Reread<'s> {
    old: &'s Source,
    source: &'s Arc<Source>,
    /// How far both texts begin alike, and from where on, in the old one, they end alike.
    same_to: usize,
    same_from: usize,
    /// The new text without what is cut out, as far as `copied`.
    left: String,
    copied: usize,
    cuts: Vec<Cut>,
}

impl<'s> Reread<'s> {
    fn new(old: &'s Source, source: &'s Arc<Source>) -> Reread<'s> {
        let (was, is) = (old.text(), source.text());
        let most = was.len().min(is.len());
        let same_to = alike(was.bytes().zip(is.bytes()).take(most));
        let same_at_end = alike(was.bytes().rev().zip(is.bytes().rev()).take(most - same_to));
        let same_from = was.len() - same_at_end;
        Reread { old, source, same_to, same_from, left: String::new(), copied: 0, cuts: Vec::new() }
    }

    /// Goes through what was read last time in its order, and cuts out what need not be read.
    fn cut(&mut self, node: Node, depth: usize) {
        match node.value {
            Value::Map(map) => map.into_iter().for_each(|(_, entry)| self.cut(entry.node, depth + 1)),
            Value::List(items) => self.cut_items(items, depth),
            _ => {}
        }
    }

    fn cut_items(&mut self, items: Vec<Node>, depth: usize) {
        let places: Vec<Option<Place>> = items.iter().map(|item| self.place(item)).collect();
        // How far the text was copied when the last item that stays was come to.
        let mut until = (0, 0);
        for (nth, item) in items.into_iter().enumerate() {
            match nth.checked_sub(1).and_then(|before| places.get(before..=nth + 1)) {
                Some(&[Some(before), Some(this), Some(next)]) if self.stands(before, next) && !is_expanded(&item) => {
                    let by = self.moved(this);
                    let after = until.0 + (before.start.strict_add_signed(by) - until.1);
                    self.take(this.line..next.line, by, item, (after, depth));
                }
                _ => {
                    until = (self.left.len(), self.copied);
                    self.cut(item, depth + 1);
                }
            }
        }
    }

    /// Where an item stands that begins its line.
    fn place(&self, item: &Node) -> Option<Place> {
        let start = item.span.range().start;
        let (_, line) = self.old.line_of(start);
        let dash = self.old.text()[line..start].trim_ascii_start();
        (dash.len() > 1 && dash.trim_ascii_end() == "-").then_some(Place { line, start })
    }

    /// Whether the item between these is what it was, and is come to as it was.
    fn stands(&self, before: Place, next: Place) -> bool {
        next.start <= self.same_to || before.line > self.same_from
    }

    /// How far an item that stands has moved.
    fn moved(&self, item: Place) -> isize {
        match item.line < self.same_to {
            true => 0,
            false => self.source.text().len().cast_signed() - self.old.text().len().cast_signed(),
        }
    }

    /// Cuts out an item on these lines of the old text: with those right before it, or by a new cut `after` one of that depth.
    fn take(&mut self, lines: Range<usize>, by: isize, mut item: Node, (after, depth): (usize, usize)) {
        let begin = lines.start.strict_add_signed(by);
        item.move_to(self.source, by);
        if self.cuts.is_empty() || self.copied != begin {
            self.left.push_str(&self.source.text()[self.copied..begin]);
            self.cuts.push(Cut { after, depth, length: 0, items: Vec::new() });
        }
        if let Some(cut) = self.cuts.last_mut() {
            cut.items.push(item);
            cut.length += lines.len();
        }
        self.copied = begin + lines.len();
    }
}

/// Where an item of a list begins: its line, and what is behind its dash.
#[derive(Clone, Copy)]
struct Place {
    line: usize,
    start: usize,
}

/// How many pairs there are before one that differs.
fn alike(pairs: impl Iterator<Item = (u8, u8)>) -> usize {
    pairs.take_while(|(one, other)| one == other).count()
}

/// Whether something in it came out of a `${…}`, and may be something else by now.
fn is_expanded(node: &Node) -> bool {
    node.span.is_expanded()
        || match &node.value {
            Value::List(items) => items.iter().any(is_expanded),
            Value::Map(map) => map.values().any(|entry| is_expanded(&entry.node)),
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;
    use std::path::Path;
    use std::time::Instant;

    const FILE: &str = "\
listen: 127.0.0.1:0
# The services.
services:
  - name: one
    url: http://127.0.0.1:1
    routes:
      - {name: a, paths: [/a]}
      - {name: b, paths: [/b]}

      # Of c.
      - name: c
        paths:
          - /c
          - '/c d'
          - /ü
          - /e
      - {name: d, paths: [\"/d\",
           /dd]}
      - name: e
        text: |
          - not: an item
          - nor: this
        paths: [/e]   # which
      - name: ${NAME:-f}
        paths: [/f]
      - {name: g, paths: [/g]}
      - {name: h, paths: [/h]}
  - name: two
    routes:
    - name: i
      paths:
      - /i
      - /ii
      - /iii
    - name: j
      lists:
        - - 1
          - 2
          - 3
        - - 4
        - - 5
          - 6
        -
        - 8
    - name: k
  - name: three
  - name: four
  - name: five
";

    fn source(text: &str) -> Arc<Source> {
        Source::new("x.yaml", text)
    }

    fn expander(env: &dyn Fn(&str) -> Option<String>) -> Expander<'_> {
        Expander { env, directory: Path::new(""), files: Default::default() }
    }

    /// Everything there is to know of what was read: the tree with its places, or what is wrong.
    fn read(text: &str, before: Option<Document>) -> (String, Option<Document>) {
        let mut diagnostics = Diagnostics::new();
        let source = source(text);
        let document = parse(&source, before, &mut expander(&|_| None), &mut diagnostics);
        let mut seen = diagnostics.render(crate::config::Style::Plain);
        if let Some(document) = &document {
            assert!(Arc::ptr_eq(&document.source, &source));
            tell(&document.root, &source, &mut seen);
        }
        (seen, document)
    }

    fn tell(node: &Node, source: &Arc<Source>, seen: &mut String) {
        assert!(Arc::ptr_eq(node.span.source(), source));
        let _ = write!(seen, "{:?} ", node.span.range());
        let _ = match &node.value {
            Value::List(items) => {
                items.iter().for_each(|item| tell(item, source, seen));
                writeln!(seen, "; {}", items.len())
            }
            Value::Map(map) => {
                for (key, entry) in map.iter() {
                    assert!(Arc::ptr_eq(entry.key.source(), source));
                    let _ = write!(seen, "{key} {:?}: ", entry.key.range());
                    tell(&entry.node, source, seen);
                }
                writeln!(seen, "; {}", map.len())
            }
            _ => writeln!(seen, "{} {:?}", node.to_json(), node.expanded),
        };
    }

    /// What is left of the new text to be parsed.
    fn left(old: &str, new: &str) -> String {
        let (document, new) = (read(old, None).1.expect("a document"), source(new));
        let mut reread = Reread::new(&document.source, &new);
        reread.cut(document.root, 0);
        let copied = reread.copied;
        reread.left + &new.text()[copied..]
    }

    /// Numbers that look as if they came by chance, the same in each run (Steele and Vigna, splitmix64).
    fn numbers() -> impl FnMut(usize) -> usize {
        let mut state = 0u64;
        move |below| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((mixed ^ (mixed >> 31)) % below as u64) as usize
        }
    }

    #[test]
    fn whatever_is_changed_is_read_as_if_all_were() {
        const BITS: [&str; 28] = [
            "",
            " ",
            "\n",
            "- ",
            "-",
            "  ",
            "[",
            "]",
            "{",
            "}",
            "'",
            "\"",
            ": ",
            "|\n",
            "#",
            " #",
            "&x ",
            "*x",
            "\n---\n",
            "${A",
            "ü",
            "\t",
            "\r",
            ">-\n",
            "  - y\n",
            "      - {name: z}\n",
            "? ",
            "name",
        ];
        let mut number = numbers();
        let mut taken_over = 0;
        for _ in 0..1_000 {
            let at = |number: &mut dyn FnMut(usize) -> usize| FILE.floor_char_boundary(number(FILE.len() + 1));
            let begin = at(&mut number);
            let end = match number(3) {
                0 => begin,
                1 => FILE.floor_char_boundary((begin + number(12)).min(FILE.len())).max(begin),
                _ => FILE[begin..].find('\n').map_or(FILE.len(), |at| begin + at + 1),
            };
            let new = format!("{}{}{}", &FILE[..begin], BITS[number(BITS.len())], &FILE[end..]);
            let before = read(FILE, None).1;
            let (again, document) = read(&new, before);
            assert_eq!(again, read(&new, None).0, "{new}");
            // And once more, back to what it was.
            taken_over += usize::from(document.as_ref().is_some_and(|document| document.is_plain));
            assert_eq!(read(FILE, document).0, read(FILE, None).0, "{new}");
        }
        assert!(taken_over > 250, "{taken_over}");
    }

    #[test]
    fn only_the_surroundings_of_a_change_are_read() {
        let routes = |changed: &str| -> String {
            let route = |n| match n {
                500 => changed.to_owned(),
                n => format!("  - {{name: r{n}, paths: [/r{n}]}}\n"),
            };
            format!("routes:\n{}", (0..1000).map(route).collect::<String>())
        };
        let old = routes("  - {name: x, paths: [/x]}\n");
        for changed in ["  - {name: y, paths: [/x]}\n", "", "  - {name: x}\n  - name: y\n    paths: [/y]\n"] {
            let new = routes(changed);
            let left = left(&old, &new);
            assert!(left.lines().count() < 10 && left.contains(changed), "{left}");
            assert_eq!(read(&new, read(&old, None).1).0, read(&new, None).0);
        }
        assert_eq!(left(&old, &old).lines().count(), 3, "nothing changed");
    }

    #[test]
    fn what_came_from_elsewhere_is_asked_for_again() {
        let text = "a:\n  - 1\n  - x: ${NAME}\n  - 3\n  - 4\n";
        let of = |name: &'static str, before| {
            let env = |_: &str| Some(name.to_owned());
            parse(&source(text), before, &mut expander(&env), &mut Diagnostics::new()).expect("a document")
        };
        let again = of("new", Some(of("old", None)));
        assert_eq!(again.root.to_json(), serde_json::json!({"a": [1, {"x": "new"}, 3, 4]}));
    }

    #[test]
    fn a_long_line_takes_no_longer_than_to_read_it() {
        let text = format!("{{\"a\": [{}1]}}", "1,".repeat(200_000));
        let begun = Instant::now();
        let (seen, document) = read(&text, None);
        let whole = begun.elapsed();
        assert_eq!(read(&text, document).0, seen);
        let again = begun.elapsed() - whole;
        assert!(again < 3 * whole, "{again:?}, and {whole:?} the first time");
    }

    #[test]
    fn with_anchors_all_is_read() {
        let text = "a:\n  - 1\n  - &x 2\n  - 3\n  - 4\nb: *x\n";
        let (seen, document) = read(text, None);
        assert!(document.as_ref().is_some_and(|document| !document.is_plain));
        assert_eq!(read(text, document).0, seen);
        // One that comes later, too.
        let old = "a:\n  - 1\n  - 2\n  - 3\n  - 4\nb: 1\n";
        assert_eq!(read(text, read(old, None).1).0, seen);
    }
}
