//! Shares equal patterns: within a document, and between a document and its next version.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

/// Number of entries up to which entries of dropped patterns are kept.
const KEPT: usize = 64;

/// Compiled patterns that are in use, by their text.
#[derive(Debug)]
pub struct Cache<T>(RefCell<Entries<T>>);

#[derive(Debug)]
struct Entries<T> {
    by_text: BTreeMap<Box<str>, Weak<T>>,
    /// Number of entries at which those of dropped patterns are removed
    limit: usize,
}

impl<T> Cache<T> {
    /// A cache without patterns.
    pub const fn new() -> Self {
        Self(RefCell::new(Entries { by_text: BTreeMap::new(), limit: KEPT }))
    }

    /// Returns the pattern with this text, and compiles it if none is in use.
    ///
    /// # Errors
    /// The error of `compile`.
    pub fn get<E>(&self, text: &str, compile: impl FnOnce() -> Result<T, E>) -> Result<Arc<T>, E> {
        let mut entries = self.0.borrow_mut();
        if let Some(compiled) = entries.by_text.get(text).and_then(Weak::upgrade) {
            return Ok(compiled);
        }
        let compiled = Arc::new(compile()?);
        entries.by_text.insert(text.into(), Arc::downgrade(&compiled));
        if entries.by_text.len() >= entries.limit {
            entries.by_text.retain(|_, compiled| compiled.strong_count() > 0);
            // Each removal is paid by as many insertions.
            entries.limit = KEPT.max(2 * entries.by_text.len());
        }
        Ok(compiled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(cache: &Cache<String>, text: &str) -> Arc<String> {
        cache.get(text, || Ok::<_, ()>(text.to_owned())).unwrap()
    }

    #[test]
    fn equal_texts_share_what_is_compiled() {
        let cache = Cache::new();
        let first = get(&cache, "a");
        let second = cache.get("a", || Err("compiled again")).unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        drop((first, second));
        assert_eq!(cache.get("a", || Err("compiled again")).unwrap_err(), "compiled again");
    }

    #[test]
    fn entries_of_dropped_patterns_are_removed() {
        let cache = Cache::new();
        let kept: Vec<_> = (0..100).map(|number| get(&cache, &format!("kept {number}"))).collect();
        for number in 0..10_000 {
            get(&cache, &number.to_string());
        }
        assert!(cache.0.borrow().by_text.len() <= 2 * kept.len());
        assert!(kept.iter().all(|text| Arc::ptr_eq(text, &get(&cache, text))));
    }
}
