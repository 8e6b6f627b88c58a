// SPDX-License-Identifier: GPL-3.0-or-later
//! Values that many rows share, each held once and named by a small number.
//!
//! Holders are counted; a value that nobody names any more makes room for another.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The values, and how many rows name each.
#[derive(Clone, Debug)]
pub(crate) struct Interned<T> {
    numbers: BTreeMap<Arc<T>, u32>,
    slots: Vec<Option<(Arc<T>, u32)>>,
    free: Vec<u32>,
}

impl<T> Default for Interned<T> {
    fn default() -> Self {
        Self {
            numbers: BTreeMap::new(),
            slots: Vec::new(),
            free: Vec::new(),
        }
    }
}

/// With their numbers and holders: rows of a checkpoint name values by these.
impl<T: Serialize> Serialize for Interned<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let slots: Vec<Option<(&T, u32)>> = (self.slots.iter())
            .map(|slot| (slot.as_ref()).map(|(value, holders)| (&**value, *holders)))
            .collect();
        (slots, &self.free).serialize(serializer)
    }
}

impl<'de, T: Ord + Deserialize<'de>> Deserialize<'de> for Interned<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (slots, free) = <(Vec<Option<(T, u32)>>, Vec<u32>)>::deserialize(deserializer)?;
        let slots: Vec<Option<(Arc<T>, u32)>> = (slots.into_iter())
            .map(|slot| slot.map(|(value, holders)| (Arc::new(value), holders)))
            .collect();
        let numbers = (0u32..)
            .zip(&slots)
            .filter_map(|(number, slot)| Some((Arc::clone(&slot.as_ref()?.0), number)))
            .collect();
        let is_free = |&number: &u32| matches!(slots.get(number as usize), Some(None));
        if !free.iter().all(is_free) {
            return Err(serde::de::Error::custom("a number is free and in use"));
        }
        Ok(Self {
            numbers,
            slots,
            free,
        })
    }
}

impl<T: Ord> Interned<T> {
    /// One more row names this value.
    pub(crate) fn take(&mut self, value: T) -> u32 {
        if let Some(&number) = self.numbers.get(&value) {
            if let Some(Some((_, holders))) = self.slots.get_mut(number as usize) {
                // Nobody counts so far; a value that were held so often would stay for ever.
                *holders = holders.saturating_add(1);
            }
            return number;
        }
        let value = Arc::new(value);
        let slot = Some((Arc::clone(&value), 1));
        let number = match self.free.pop() {
            Some(number) => {
                self.slots[number as usize] = slot;
                number
            }
            None => {
                self.slots.push(slot);
                u32::try_from(self.slots.len() - 1).expect("fewer values than memory holds")
            }
        };
        self.numbers.insert(value, number);
        number
    }

    /// A row no longer names the value of this number.
    pub(crate) fn let_go(&mut self, number: u32) {
        let Some(slot) = self.slots.get_mut(number as usize) else {
            return;
        };
        if let Some((value, holders)) = slot {
            if *holders < u32::MAX {
                *holders -= 1;
            }
            if *holders == 0 {
                self.numbers.remove(value);
                *slot = None;
                self.free.push(number);
            }
        }
    }

    /// The value of a number that some row names.
    pub(crate) fn get(&self, number: u32) -> Option<&T> {
        let slot = self.slots.get(number as usize)?.as_ref();
        slot.map(|(value, _)| &**value)
    }

    /// How many different ones there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value keeps its number while somebody names it, and only so long: a farm that runs for
    /// years does not gather the paths of jobs that are gone.
    #[test]
    fn values_live_as_long_as_they_are_named() {
        let mut values = Interned::default();
        let (one, two) = (values.take("one"), values.take("two"));
        assert_eq!(values.take("one"), one);
        values.let_go(one);
        assert_eq!(values.get(one), Some(&"one"));
        values.let_go(one);
        assert_eq!((values.get(one), values.len()), (None, 1));
        let three = values.take("three");
        assert_eq!(
            (values.get(three), values.get(two)),
            (Some(&"three"), Some(&"two"))
        );
        assert_eq!(values.slots.len(), 2, "the room was used again");
    }
}
