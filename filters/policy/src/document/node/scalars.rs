//! Reading strings, flags and numbers.

use super::Node;
use crate::document::json::Json;
use crate::document::report::Reported;

impl<'a> Node<'a> {
    /// A string.
    #[inline(never)]
    pub fn string(&self) -> Result<&'a str, Reported> {
        match self.json {
            Json::String(value) => Ok(value),
            _ => Err(self.invalid("is not a string")),
        }
    }

    /// A string of one's own.
    pub fn text(&self) -> Result<String, Reported> {
        self.string().map(str::to_owned)
    }

    /// `true` or `false`.
    #[inline(never)]
    pub fn boolean(&self) -> Result<bool, Reported> {
        match self.json {
            Json::Bool(value) => Ok(*value),
            _ => Err(self.invalid("is neither true nor false")),
        }
    }

    /// Any finite number.
    ///
    /// It may be written as a string, as protobuf's JSON mapping allows: Envoy makes a string of
    /// every number with a fraction when it reads a `Struct` from YAML.
    #[inline(never)]
    pub fn number(&self) -> Result<f64, Reported> {
        let written = match self.json {
            Json::String(text) => serde_json::from_str::<Json<'_>>(text).ok(),
            _ => None,
        };
        match written.as_ref().unwrap_or(self.json) {
            Json::Integer(value) => Ok(*value as f64),
            Json::Float(value) => Ok(*value),
            _ => Err(self.invalid("is not a number")),
        }
    }

    /// A whole number, also one that is written with a fraction of zero, as a protobuf `Struct`
    /// may give it.
    #[inline(never)]
    pub fn integer(&self) -> Result<i64, Reported> {
        match self.json {
            Json::Integer(value) => Ok(*value),
            Json::Float(value) if value.fract() == 0.0 && value.abs() < 9e15 => Ok(*value as i64),
            _ => Err(self.invalid("is not a whole number")),
        }
    }

    /// The number of a port.
    #[inline(never)]
    pub fn port(&self) -> Result<u16, Reported> {
        let port = u16::try_from(self.integer()?).ok().filter(|port| *port > 0);
        port.ok_or_else(|| self.invalid("is not in the range 1 to 65535"))
    }

    /// One of `names`.
    pub fn one_of(&self, names: &[&'static str]) -> Result<&'static str, Reported> {
        let text = self.string()?;
        let found = names.iter().copied().find(|name| *name == text);
        found.ok_or_else(|| self.invalid(format_args!("is not one of {}", names.join(", "))))
    }
}
