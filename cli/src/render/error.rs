//! The error for which nothing is rendered.

use std::error::Error as _;
use std::fmt;

use crate::finding::Finding;

/// The error for which nothing is rendered.
#[derive(Debug)]
pub enum RenderError {
    /// Arguments that contradict each other or the document
    Usage(String),
    /// What the document needs, and the dynamic module cannot do
    Document(Vec<Finding>),
    /// A template that does not fit its context, which is a defect of this program
    Template(minijinja::Error),
}

impl fmt::Display for RenderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(reason) => write!(f, "{reason}"),
            Self::Document(findings) => {
                for (index, finding) in findings.iter().enumerate() {
                    let line_break = if index == 0 { "" } else { "\n" };
                    write!(f, "{line_break}{}", finding.labelled("error"))?;
                }
                Ok(())
            }
            Self::Template(error) => {
                write!(f, "cannot render: {error}")?;
                // An error inside an included template is the source of another.
                let mut sources = std::iter::successors(error.source(), |error| (*error).source());
                sources.try_for_each(|source| write!(f, ": {source}"))
            }
        }
    }
}

impl From<String> for RenderError {
    fn from(reason: String) -> Self {
        Self::Usage(reason)
    }
}

impl From<minijinja::Error> for RenderError {
    fn from(error: minijinja::Error) -> Self {
        Self::Template(error)
    }
}
