//! What the unit tests of this crate share.

use crate::document::filter::Filter;
use crate::document::node::Node;
use crate::document::parse::parse;
use crate::document::report::{Report, Reported};
use crate::request::connection::Connection;
use crate::request::{Attributes, Draws};
use crate::spec::outlier::OutlierSettings;
use crate::spec::outlier_detection::Settings;
use crate::spec::proxy::{NoMetadata, Proxy};
use crate::spec::scope::Scope;

/// Reads a JSON text: the value, or all errors, one a line.
pub fn read<T>(
    text: &str,
    read: impl FnOnce(&Node<'_>) -> Result<T, Reported>,
) -> Result<T, String> {
    read_with_notices(text, read).map(|(value, _)| value)
}

/// Reads a JSON text: the value with the notices, one a line, or all errors.
pub fn read_with_notices<T>(
    text: &str,
    read: impl FnOnce(&Node<'_>) -> Result<T, Reported>,
) -> Result<(T, String), String> {
    let json = parse(text.as_bytes()).unwrap();
    let report = Report::new(Filter::Router);
    let value = read(&Node::root(&json, &report));
    let notices = report.finish(&json).map_err(|rejection| rejection.to_string())?;
    let notices: Vec<String> = notices.iter().map(ToString::to_string).collect();
    Ok((value.expect("a value, as there is no error"), notices.join("\n")))
}

/// The settings of an `outlierDetection` without errors.
pub fn outlier_settings(text: &str) -> Settings {
    read(text, read_outlier_settings).unwrap()
}

/// Reads an `outlierDetection` of a document that has nothing else.
pub fn read_outlier_settings(node: &Node<'_>) -> Result<Settings, Reported> {
    let proxy = Proxy::unknown(&NoMetadata);
    let scope = Scope::of_document(None, &proxy);
    Settings::read(node, OutlierSettings::default(), &scope).map(|(settings, _)| settings)
}

/// Attributes that a test chooses.
#[derive(Default)]
pub struct FixedAttributes {
    pub port: Option<u16>,
    pub source: Option<Vec<u8>>,
    pub claims: Vec<(Vec<&'static str>, Vec<&'static str>)>,
}

impl Attributes for FixedAttributes {
    fn destination_port(&self) -> Option<u16> {
        self.port
    }

    fn source_address(&self) -> Option<Vec<u8>> {
        self.source.clone()
    }

    fn claim(&self, path: &[String]) -> Vec<Vec<u8>> {
        let found = self.claims.iter().find(|(known, _)| known == path);
        let values = |values: &Vec<&str>| values.iter().map(|v| v.as_bytes().to_vec()).collect();
        found.map_or(Vec::new(), |(_, claim)| values(claim))
    }
}

/// Always the same draw.
pub struct FixedDraw(pub u64);

impl Draws for FixedDraw {
    fn draw(&mut self) -> u64 {
        self.0
    }
}

/// Header pairs of a request; a name that stands twice is sent twice.
pub fn pairs(headers: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
    headers.iter().map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec())).collect()
}

/// A connection that a test chooses.
#[derive(Default)]
pub struct FixedConnection {
    pub ip: Option<std::net::IpAddr>,
    pub port: Option<u16>,
    pub source: Option<Vec<u8>>,
}

impl Connection for FixedConnection {
    fn destination_ip(&self) -> Option<std::net::IpAddr> {
        self.ip
    }

    fn destination_port(&self) -> Option<u16> {
        self.port
    }

    fn source_address(&self) -> Option<Vec<u8>> {
        self.source.clone()
    }
}
