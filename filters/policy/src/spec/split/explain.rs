//! The shares of a split, see [`crate::desk::explain`].

use super::Split;

impl<T> Split<T> {
    /// The targets with their weights, those of weight 0 left out.
    pub(crate) fn shares(&self) -> impl Iterator<Item = (u32, &T)> {
        self.choices.iter().map(|choice| (choice.weight, &choice.target))
    }
}
