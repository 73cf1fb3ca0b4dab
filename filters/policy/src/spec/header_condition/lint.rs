//! What one header condition says about another.

use super::HeaderCondition;
use crate::spec::string_match::ValueMatch;

impl HeaderCondition {
    /// The header's name, what is asked of its value, and whether that must not be so.
    pub(crate) fn parts(&self) -> (&str, &ValueMatch, bool) {
        (&self.name, &self.condition, self.is_inverted)
    }

    /// Whether every request for which `other` holds is one for which this holds.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        if self.name != other.name || self.is_inverted != other.is_inverted {
            return false;
        }
        if self.is_inverted {
            other.condition.covers(&self.condition) && self.condition.covers(&other.condition)
        } else {
            self.condition.covers(&other.condition)
        }
    }

    /// Whether no request has both this and `other`: a header that has to be there and must not.
    pub(crate) fn excludes(&self, other: &Self) -> bool {
        self.name == other.name
            && !self.is_inverted
            && other.is_inverted
            && other.condition.covers(&self.condition)
    }
}
