//! `mode` of a filter's settings: whether the filter carries out its decisions.

use crate::document::filter::Filter;
use crate::document::json::Json;
use crate::document::node::Node;
use crate::document::report::{Kind, Reported};

/// Whether a filter carries out its decisions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Decisions are carried out.
    #[default]
    Enforce,
    /// Decisions are made and counted, and change nothing.
    Shadow,
}

/// Words for a mode.
pub const MODES: [&str; 2] = ["enforce", "shadow"];

/// Words for a mode of a filter whose shadow mode had another name.
pub const MODES_WITH_OLD: [&str; 3] = ["enforce", "shadow", REPORT_ONLY];

/// Old name of [`Mode::Shadow`] in the egress and sni filters.
const REPORT_ONLY: &str = "reportOnly";

impl Mode {
    /// Reads a `mode`.
    #[inline(never)]
    pub fn read(node: &Node<'_>) -> Result<Self, Reported> {
        Ok(match node.one_of(&MODES)? {
            "shadow" => Self::Shadow,
            _ => Self::Enforce,
        })
    }

    /// Reads a `mode` that may have the old name of [`Mode::Shadow`], which is reported to
    /// `filter`.
    pub fn read_with_old(node: &Node<'_>, filter: Filter) -> Result<Self, Reported> {
        if matches!(node.json, Json::String(text) if text == REPORT_ONLY) {
            node.notice_to(filter, Kind::Deprecated, "reportOnly is renamed to shadow");
            return Ok(Self::Shadow);
        }
        Self::read(node)
    }

    /// Returns whether decisions are only counted.
    #[inline]
    pub fn is_shadow(self) -> bool {
        self == Self::Shadow
    }
}
