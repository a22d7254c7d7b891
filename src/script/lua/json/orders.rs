//! The order in which keys of a script's own tables are written, remembered by the walk that found it.
//!
//! A script makes the same few tables over and over, from the same constructors, and a walk finds their keys one after the other in the
//! same row each time. A row of strings is known by their addresses, which stay theirs as the machine's table of orders holds the strings
//! of each order that is kept. It knows nothing of the machine.

use crate::script::json;
use std::rc::Rc;

/// Longer rows are put in order each time.
pub const MAX_KEYS: usize = 16;
/// Orders that are kept; one that comes takes the place of another in its set.
pub const MAX_ORDERS: usize = 64;
const SET: usize = 4;
/// Rows with more bytes of keys are not kept.
const MAX_BYTES: usize = 1024;

/// What the keys of a row are called by: zero is none.
pub type Row = [usize; MAX_KEYS];

/// The keys of a row as they are written.
#[derive(Debug, PartialEq)]
pub struct Order {
    row: Box<[usize]>,
    /// The keys with their quotes, colons and the commas before them.
    text: Box<[u8]>,
    /// Where each is in the row, and where it ends in the text.
    keys: Box<[(usize, usize)]>,
}

impl Order {
    fn new(row: &[usize], names: &[&[u8]]) -> Order {
        let mut places: Vec<usize> = (0..names.len()).collect();
        places.sort_unstable_by_key(|place| names[*place]);
        let mut text = Vec::new();
        let mut write = |place: usize| {
            if !text.is_empty() {
                text.push(b',');
            }
            json::write_str(&mut text, names[place]);
            text.push(b':');
            (place, text.len())
        };
        let keys = places.into_iter().map(&mut write).collect();
        Order { row: row.into(), text: text.into(), keys }
    }

    /// The places of the keys in their row, each with what is written before its value.
    pub fn keys(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let mut start = 0;
        self.keys.iter().map(move |(place, end)| {
            let key = self.text.get(start..*end).unwrap_or_default();
            start = *end;
            (*place, key)
        })
    }
}

#[derive(Default)]
struct Slot {
    /// The hash of a row that came and was not known.
    asked: u64,
    order: Option<Rc<Order>>,
}

pub struct Orders {
    slots: Box<[Slot]>,
    /// Counts the rows that were not known: they take the slots of a set in turn, so that a few that come by turns do not take each
    /// other's.
    unknown: usize,
}

/// A row that was looked for.
pub enum Sought {
    Known(Rc<Order>),
    /// It came before and may be [kept](Orders::keep) in this slot.
    Again(usize),
    New,
}

impl Default for Orders {
    fn default() -> Orders {
        Orders { slots: (0..MAX_ORDERS).map(|_| Slot::default()).collect(), unknown: 0 }
    }
}

impl Orders {
    /// Looks for a row. One that comes only once, as keys that are ids do, takes no place.
    pub fn seek(&mut self, row: &[usize]) -> Sought {
        let mix = |hash: u64, key: &usize| (hash.rotate_left(5) ^ *key as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let hash = row.iter().fold(row.len() as u64, mix);
        let first = (hash >> 32) as usize % (MAX_ORDERS / SET) * SET;
        let Some(set) = self.slots.get_mut(first..first + SET) else { return Sought::New };
        for slot in &*set {
            if let Some(order) = &slot.order
                && *order.row == *row
            {
                return Sought::Known(order.clone());
            }
        }
        if let Some(slot) = set.iter().position(|slot| slot.asked == hash) {
            return Sought::Again(first + slot);
        }
        self.unknown = self.unknown.wrapping_add(1);
        if let Some(slot) = set.get_mut(self.unknown % SET) {
            slot.asked = hash;
        }
        Sought::New
    }

    /// Keeps the order of a row; false when its keys are too long. From then on something must hold the strings of this slot, and those
    /// of the one that it had before are free.
    pub fn keep(&mut self, slot: usize, row: &[usize], names: &[&[u8]]) -> bool {
        let is_short = names.iter().map(|name| name.len()).sum::<usize>() <= MAX_BYTES;
        match self.slots.get_mut(slot) {
            Some(slot) if is_short => {
                slot.order = Some(Rc::new(Order::new(row, names)));
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(order: &Order) -> Vec<(usize, String)> {
        order.keys().map(|(place, key)| (place, String::from_utf8_lossy(key).into_owned())).collect()
    }

    #[test]
    fn a_row_is_kept_when_it_comes_again() {
        let mut orders = Orders::default();
        let row = [30, 10, 20];
        let names: [&[u8]; 3] = [b"name", b"id", b"of \"it\""];
        assert!(matches!(orders.seek(&row), Sought::New));
        let Sought::Again(slot) = orders.seek(&row) else { panic!("it came before") };
        assert!(orders.keep(slot, &row, &names));
        let Sought::Known(order) = orders.seek(&row) else { panic!("it is kept") };
        let keys = [(1, r#""id":"#), (0, r#","name":"#), (2, r#","of \"it\"":"#)];
        assert_eq!(written(&order), keys.map(|(place, key)| (place, key.to_owned())));
        for other in [&[30, 20, 10][..], &[30, 10], &[30, 10, 20, 40], &[]] {
            assert!(!matches!(orders.seek(other), Sought::Known(_)), "{other:?}");
        }
    }

    #[test]
    fn rows_that_come_by_turns_are_all_kept() {
        let mut orders = Orders::default();
        let rows: Vec<[usize; 2]> = (1..=12).map(|n| [n * 48, n * 48 + 16]).collect();
        for row in rows.iter().cycle().take(4 * rows.len()) {
            if let Sought::Again(slot) = orders.seek(row) {
                orders.keep(slot, row, &[b"a", b"b"]);
            }
        }
        let known = rows.iter().filter(|row| matches!(orders.seek(&row[..]), Sought::Known(_))).count();
        assert_eq!(known, rows.len());
    }

    #[test]
    fn long_keys_are_not_kept() {
        let mut orders = Orders::default();
        let long = [b'x'; MAX_BYTES + 1];
        assert!(!orders.keep(0, &[1], &[&long]));
    }
}
