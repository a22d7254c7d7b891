//! Which keys objects had, one after the other: a tree whose paths are the shapes that are kept.
//!
//! With it the keys of documents that come again are recognised where they stand, without being hashed or copied. It knows nothing of the
//! machine, whose strings for its nodes lie in a table beside it.

/// More keys after the same ones, and longer paths, are left to the slower reader.
const MAX_CHILDREN: u8 = 32;
const MAX_LENGTH: usize = 256;

pub struct KeyTree {
    nodes: Vec<Node>,
    /// Changes whenever nodes come to mean something else: when they are forgotten, or another one is wanted.
    pub age: u32,
}

/// A key that was recognised.
pub struct Step {
    pub node: u32,
    /// Of what was recognised.
    pub length: usize,
    /// Whether scripts read what stands under it.
    pub is_wanted: bool,
}

/// A key after those of the nodes above it.
#[derive(Default)]
struct Node {
    key: Box<[u8]>,
    /// The key with its closing quote.
    quoted: Word,
    /// The same from the comma before it to its colon, as programs write that: without spaces, and with one behind each.
    compact: Word,
    spaced: Word,
    children: u8,
    /// The child and the sibling that are tried first; 0 is none.
    child: u32,
    sibling: u32,
    /// The place of the shape that ends here; 0 is none.
    shape: u32,
    /// Whether scripts read what stands under the key.
    is_wanted: bool,
}

/// What another text may begin with.
#[derive(Default)]
struct Word {
    text: Box<[u8]>,
    /// Its first eight bytes, and which of their bits count.
    head: u64,
    mask: u64,
    /// Its last eight, if it has more.
    tail: u64,
}

/// Bytes that are compared at once.
const HEAD: usize = 8;

/// The first bytes of a text; zeros, which no word has, stand for those that it lacks.
#[inline]
fn head(text: &[u8]) -> u64 {
    match text.first_chunk::<HEAD>() {
        Some(bytes) => u64::from_le_bytes(*bytes),
        None => text.iter().rev().fold(0, |head, byte| head << 8 | u64::from(*byte)),
    }
}

impl Word {
    fn new(text: Vec<u8>) -> Word {
        let spare = HEAD.saturating_sub(text.len());
        let tail = text.last_chunk().map_or(0, |tail| u64::from_le_bytes(*tail));
        Word { head: head(&text), mask: u64::MAX >> (8 * spare), tail, text: text.into() }
    }

    /// Whether a text begins with it, whose [`head`] is this.
    #[inline(always)]
    fn begins(&self, head: u64, text: &[u8]) -> bool {
        head & self.mask == self.head && (self.text.len() <= HEAD || self.is_all_of(text))
    }

    #[inline]
    fn is_all_of(&self, text: &[u8]) -> bool {
        let length = self.text.len();
        if length > 2 * HEAD {
            return text.starts_with(&self.text);
        }
        let tail = text.get(length - HEAD..length).and_then(|tail| tail.first_chunk());
        tail.is_some_and(|tail| u64::from_le_bytes(*tail) == self.tail)
    }
}

impl Node {
    fn new(key: &[u8]) -> Node {
        let word = |before: &[u8], behind: &[u8]| Word::new([before, key, behind].concat());
        let (quoted, compact, spaced) = (word(b"", b"\""), word(b",\"", b"\":"), word(b", \"", b"\": "));
        Node { key: key.into(), quoted, compact, spaced, ..Node::default() }
    }
}

impl Default for KeyTree {
    fn default() -> KeyTree {
        KeyTree { nodes: vec![Node::default()], age: 0 }
    }
}

impl KeyTree {
    pub const ROOT: u32 = 0;

    /// The key that `text` begins with, and its closing quote.
    #[inline]
    pub fn step(&self, from: u32, text: &[u8]) -> Option<Step> {
        self.recognise(from, text, |node| &node.quoted)
    }

    /// The next key of an object, of which `text` begins with the comma before it, up to behind its colon, and a space that is there. Only
    /// those are found that stand there as most programs write them.
    #[inline(always)]
    pub fn follow(&self, from: u32, text: &[u8]) -> Option<Step> {
        match text.get(1)? {
            b' ' => self.recognise(from, text, |node| &node.spaced),
            _ => self.recognise(from, text, |node| &node.compact),
        }
    }

    #[inline(always)]
    fn recognise(&self, from: u32, text: &[u8], word: impl Fn(&Node) -> &Word) -> Option<Step> {
        let mut at = self.node(from)?.child;
        let head = head(text);
        while at != 0 {
            let node = self.node(at)?;
            let word = word(node);
            if word.begins(head, text) {
                return Some(Step { node: at, length: word.text.len(), is_wanted: node.is_wanted });
            }
            at = node.sibling;
        }
        None
    }

    pub fn shape(&self, at: u32) -> Option<u32> {
        self.node(at).map(|node| node.shape).filter(|shape| *shape != 0)
    }

    /// Notes that scripts read the last of the keys that an object begins with.
    pub fn want<'a>(&mut self, mut keys: impl Iterator<Item = &'a [u8]>) {
        let at = keys.try_fold(KeyTree::ROOT, |at, key| self.children(at).find(|child| self.key(*child) == Some(key)));
        if let Some(node) = at.and_then(|at| self.nodes.get_mut(at as usize)).filter(|node| !node.is_wanted) {
            node.is_wanted = true;
            self.age = self.age.wrapping_add(1);
        }
    }

    /// Forgets all keys.
    pub fn clear(&mut self) {
        *self = KeyTree { age: self.age.wrapping_add(1), ..KeyTree::default() };
    }

    fn key(&self, at: u32) -> Option<&[u8]> {
        self.node(at).map(|node| &node.key[..])
    }

    #[inline]
    fn node(&self, at: u32) -> Option<&Node> {
        self.nodes.get(at as usize)
    }

    /// Adds the path of a shape; gives the nodes that are new, with their keys. The keys must stand in a text as they are.
    pub fn add<'a>(&mut self, keys: impl Iterator<Item = &'a [u8]> + Clone, shape: u32) -> Vec<(u32, &'a [u8])> {
        let (mut added, mut at) = (Vec::new(), KeyTree::ROOT);
        if keys.clone().count() > MAX_LENGTH {
            return added;
        }
        for key in keys {
            let children = self.children(at).find(|child| self.nodes[*child as usize].key[..] == *key);
            at = match children {
                Some(child) => child,
                None => {
                    let new = self.nodes.len() as u32;
                    let parent = &mut self.nodes[at as usize];
                    if parent.children >= MAX_CHILDREN {
                        return added;
                    }
                    let sibling = std::mem::replace(&mut parent.child, new);
                    parent.children += 1;
                    self.nodes.push(Node { sibling, ..Node::new(key) });
                    added.push((new, key));
                    new
                }
            };
        }
        self.nodes[at as usize].shape = shape;
        added
    }

    fn children(&self, at: u32) -> impl Iterator<Item = u32> {
        let first = self.node(at).map(|node| node.child);
        std::iter::successors(first, |child| self.node(*child).map(|node| node.sibling)).take_while(|at| *at != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_followed_to_the_shape_that_they_make() {
        let mut tree = KeyTree::default();
        let path = |keys: &'static [&'static str]| keys.iter().map(|key| key.as_bytes());
        tree.add(path(&["id", "name"]), 1);
        tree.add(path(&["id", "namesake"]), 2);
        tree.add(path(&["id"]), 3);
        tree.add(path(&["seven77", "eight888", "nine99999", ""]), 4);
        tree.add(path(&["fifteen_letters", "sixteen__letters"]), 5);
        let follow = |keys: &[&str]| {
            let step = |at, key: &&str| tree.step(at, format!("{key}\": 1").as_bytes()).map(|step| step.node);
            keys.iter().try_fold(KeyTree::ROOT, step).and_then(|at| tree.shape(at))
        };
        assert_eq!(follow(&["id", "name"]), Some(1));
        assert_eq!(follow(&["id", "namesake"]), Some(2));
        assert_eq!(follow(&["id"]), Some(3));
        assert_eq!(follow(&["seven77", "eight888", "nine99999", ""]), Some(4));
        assert_eq!(follow(&["seven77", "eight888", "nine99998", ""]), None);
        assert_eq!(follow(&["seven77", "eight889"]), None);
        assert_eq!(follow(&["fifteen_letters", "sixteen__letters"]), Some(5));
        assert_eq!(follow(&["fifteen_letters", "sixteen__letterz"]), None);
        assert_eq!(follow(&["fifteen_lettert", "sixteen__letters"]), None);
        assert_eq!(follow(&["fifteen_letter"]), None);
        assert_eq!(follow(&["seven7"]), None);
        assert_eq!(follow(&["seven777"]), None);
        assert!(tree.step(KeyTree::ROOT, b"id").is_none());
        assert_eq!(follow(&["name"]), None);
        assert_eq!(follow(&["id", "id"]), None);
        assert_eq!(follow(&[]), None);
    }

    #[test]
    fn the_next_key_is_recognised_with_what_stands_around_it() {
        let mut tree = KeyTree::default();
        tree.add(["id", "name", "eleven_long"].map(str::as_bytes).into_iter(), 1);
        let id = tree.step(KeyTree::ROOT, b"id\"").expect("a key").node;
        let length = |from, text: &str| tree.follow(from, text.as_bytes()).map(|step| step.length);
        assert_eq!(length(id, r#","name":1}"#), Some(8));
        assert_eq!(length(id, r#", "name": 1}"#), Some(10));
        assert_eq!(length(id, r#","name": 1}"#), Some(8));
        let name = tree.follow(id, br#","name":"#).expect("a key").node;
        assert_eq!(length(name, r#", "eleven_long": "#), Some(17));
        assert_eq!(length(name, r#","eleven_long":1"#), Some(15));
        for other in [
            r#", "name":1}"#,
            r#",  "name": 1}"#,
            r#" ,"name":1}"#,
            r#","names":1}"#,
            r#","nam":1}"#,
            "}",
            ", ",
            ",",
            "",
        ] {
            assert_eq!(length(id, other), None, "{other}");
        }
    }

    #[test]
    fn a_key_is_wanted_behind_those_before_it() {
        let mut tree = KeyTree::default();
        let path = |keys: &'static [&'static str]| keys.iter().map(|key| key.as_bytes());
        tree.add(path(&["id", "name"]), 1);
        tree.add(path(&["name"]), 2);
        tree.want(path(&["id", "name"]));
        tree.want(path(&["id", "other"]));
        let step = |at, key: &[u8]| tree.step(at, key).expect("a key");
        let id = step(KeyTree::ROOT, b"id\"");
        let wanted = [step(id.node, b"name\""), step(KeyTree::ROOT, b"name\""), id].map(|step| step.is_wanted);
        assert_eq!(wanted, [true, false, false]);
    }

    #[test]
    fn a_node_has_no_more_children_than_are_searched_quickly() {
        let mut tree = KeyTree::default();
        let added = (0..100u32).filter(|n| !tree.add([n.to_string().as_bytes()].into_iter(), n + 1).is_empty()).count();
        assert_eq!(added, usize::from(MAX_CHILDREN));
    }
}
