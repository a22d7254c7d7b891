//! The orders that keys of objects came in, each once and by a number that a map carries as its tag.

use super::{Entry, Key};
use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, Hasher},
    rc::Rc,
};

/// The order of a decoded object's keys.
pub struct Shape {
    pub order: Box<[Key]>,
    pub sorted: Box<[Key]>,
    /// Where in the order each of the sorted keys is.
    places: Box<[usize]>,
}

/// Known shapes. Bounded: when there are too many keys the older half is forgotten, and documents of those shapes that are
/// still alive are written by name.
#[derive(Default)]
pub struct Shapes {
    hashes: ahash::RandomState,
    last: i32,
    recent: Half,
    older: Half,
    /// Those that were met last, as a document has few: to compare keys costs less than to hash them.
    lately: Vec<(i32, Rc<Shape>)>,
    next_place: usize,
}

#[derive(Default)]
struct Half {
    /// By the hash of the keys in their order.
    numbers: HashMap<u64, i32, ahash::RandomState>,
    shapes: HashMap<i32, Rc<Shape>, ahash::RandomState>,
    keys: usize,
}

/// About one megabyte of keys for each half.
const MAX_KEYS: usize = 16 << 10;

/// So many shapes are compared with before the keys are hashed.
const MAX_LATELY: usize = 8;
/// More entries are left to the sort: putting them in order one by one may take the square of their number.
const MAX_ARRANGED: usize = 64;

impl Shape {
    fn is_of(&self, entries: &[Entry]) -> bool {
        self.order.iter().eq(entries.iter().map(|(key, _)| key))
    }

    /// Puts entries that are in this order into the sorted one.
    fn arrange(&self, entries: &mut [Entry]) {
        if entries.len() > MAX_ARRANGED {
            return;
        }
        for at in 0..entries.len() {
            let mut from = self.places[at];
            // What was there went to where its own was taken from.
            while from < at {
                from = self.places[from];
            }
            entries.swap(at, from);
        }
    }
}

impl Shapes {
    /// The number of the order that these entries' keys have, which is not the sorted one: they may be put into that.
    pub fn number(&mut self, entries: &mut [Entry]) -> i32 {
        if let Some((number, shape)) = self.lately.iter().find(|(_, shape)| shape.is_of(entries)) {
            shape.arrange(entries);
            return *number;
        }
        let hash = self.hash(entries);
        if let Some(number) = self.recent.numbers.get(&hash)
            && let Some(shape) = self.recent.shapes.get(number)
            && shape.is_of(entries)
        {
            let (number, shape) = (*number, shape.clone());
            shape.arrange(entries);
            self.next_place = (self.next_place + 1) % MAX_LATELY;
            match self.lately.get_mut(self.next_place) {
                Some(place) => *place = (number, shape),
                None => self.lately.push((number, shape)),
            }
            return number;
        }
        // A key that is there again keeps its first place.
        let mut order: Vec<Key> = Vec::with_capacity(entries.len());
        let mut seen: HashSet<&str, ahash::RandomState> = HashSet::default();
        order.extend(entries.iter().filter(|(key, _)| seen.insert(key)).map(|(key, _)| key.clone()));
        if self.recent.keys + order.len() > MAX_KEYS {
            self.older = std::mem::take(&mut self.recent);
            self.lately.clear();
        }
        // Numbers are not reused before two billion shapes.
        self.last = self.last.checked_add(1).unwrap_or(1);
        let order = order.into_boxed_slice();
        let mut places: Box<[usize]> = (0..order.len()).collect();
        places.sort_unstable_by_key(|place| &order[*place]);
        let sorted = places.iter().map(|place| order[*place].clone()).collect();
        self.recent.keys += order.len();
        self.recent.numbers.insert(hash, self.last);
        self.recent.shapes.insert(self.last, Rc::new(Shape { order, sorted, places }));
        self.last
    }

    /// Random, so that no client can choose keys whose orders collide; a collision only makes a shape anew.
    fn hash(&self, entries: &[Entry]) -> u64 {
        let mut hasher = self.hashes.build_hasher();
        for (key, _) in entries {
            hasher.write(key.as_bytes());
            hasher.write_u8(0xff);
        }
        hasher.finish()
    }

    pub fn shape(&self, number: i32) -> Option<Rc<Shape>> {
        if number == 0 {
            return None;
        }
        self.recent.shapes.get(&number).or_else(|| self.older.shapes.get(&number)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Way, decode, encode},
        *,
    };
    use std::cell::RefCell;

    fn way(shapes: &RefCell<Shapes>) -> Way<'_> {
        Way { shapes, stops: &|| false }
    }

    #[test]
    fn shapes_that_come_again_are_known_again() {
        let shapes = RefCell::default();
        let entry = |n: usize, key: usize| format!(r#""k{:02}":{key}"#, (key * 7 + n) % 97);
        let texts: Vec<String> =
            (1..80).map(|n| format!("{{{}}}", (0..n).map(|key| entry(n, key)).collect::<Vec<_>>().join(","))).collect();
        for _ in 0..3 {
            for text in texts.iter().chain(&texts[..2]) {
                let document = decode(text.as_bytes(), way(&shapes)).expect("JSON");
                let map = document.as_map_ref().expect("a map");
                assert!(
                    map.keys().is_sorted()
                        && (0..map.len()).all(|key| {
                            let n = map.len();
                            map.get(format!("k{:02}", (key * 7 + n) % 97).as_str())
                                .is_some_and(|v| v.as_int() == Ok(key as i64))
                        })
                );
                assert_eq!(String::from_utf8_lossy(&encode(&document, way(&shapes)).expect("JSON")), *text);
            }
        }
        assert!(shapes.borrow().last <= texts.len() as i32);
    }

    #[test]
    fn shapes_are_bounded() {
        let shapes = RefCell::default();
        for n in 0..100_000 {
            let _ = decode(format!(r#"{{"k{n}":1,"a":2}}"#).as_bytes(), way(&shapes)).expect("JSON");
        }
        let shapes = shapes.borrow();
        assert!(shapes.recent.keys <= MAX_KEYS && shapes.older.keys <= MAX_KEYS);
        assert!(shapes.shape(shapes.last).is_some());
    }
}
