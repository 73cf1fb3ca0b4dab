//! Explanations of a running filter, from the headers of a response or from Envoy's log, in the
//! words of `sluice explain`.

use std::fmt::Write as _;
use std::io::Read as _;

use serde_json::{Map, Value, json};

use super::text::{BAD, BOLD, GOOD};
use crate::bundle::Bundle;

/// The filters that explain their decisions, in their order.
const FILTERS: [&str; 4] = ["egress", "fault", "mirror", "router"];

/// The explanations of one request, by filter.
pub struct Explained(Map<String, Value>);

impl Explained {
    /// Reads explanations: the value of a header, or lines of a response or log that have some;
    /// `-` reads standard input. Other lines are passed over.
    ///
    /// # Errors
    /// Why there is no explanation, or that there are those of several requests.
    pub fn read(argument: &str) -> Result<Self, String> {
        let mut text = argument.to_owned();
        if argument == "-" {
            text.clear();
            let read = std::io::stdin().read_to_string(&mut text);
            read.map_err(|error| format!("standard input: {error}"))?;
        }
        Self::parse(&text)
    }

    /// Reads the lines of a response or log that have explanations, and passes over others.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut found = Map::new();
        for (filter, own) in text.lines().flat_map(explanations) {
            if found.insert(filter.clone(), own).is_some() {
                return Err(format!("--from-header: {filter} occurs twice; give one response"));
            }
        }
        match found.is_empty() {
            true => Err("--from-header: has no explanation of a filter".to_owned()),
            false => Ok(Self(found)),
        }
    }

    /// The explanations as one JSON document.
    pub fn to_json(&self) -> String {
        format!("{:#}\n", Value::Object(self.0.clone()))
    }

    /// The places of the rules in the files of `bundle`: as in the JSON of an explanation without a
    /// proxy, `rules` has the matches, and `router.route` is the rule that decides.
    pub fn to_places(&self, bundle: &Bundle) -> Value {
        let router = self.0.get("router").unwrap_or(&Value::Null);
        let path = |own: &Value| own["place"].as_str().map(str::to_owned);
        let tried = list(router, "rules").iter().filter_map(path).map(|path| (path, false));
        let fitting = path(router);
        // The place is that of the match that holds, or of a rule without one.
        let rule = |path: &String| {
            let end = path.find(".match[").or_else(|| path.find(".matches["));
            path.get(..end.unwrap_or(path.len())).unwrap_or_default().to_owned()
        };
        let route = fitting.as_ref().map(|path| bundle.place(&rule(path)).to_json());
        let matches = tried.chain(fitting.map(|path| (path, true)));
        let matches = matches
            .map(|(path, fits)| json!({"place": bundle.place(&path).to_json(), "fits": fits}));
        json!({"rules": matches.collect::<Value>(), "router": {"route": route}})
    }

    /// The explanations as lines of text, with places in the files of `bundle`.
    pub fn to_text(&self, bundle: &Bundle) -> String {
        let mut lines = Lines { text: String::new(), bundle };
        for (filter, own) in FILTERS.iter().filter_map(|name| Some((name, self.0.get(*name)?))) {
            match *filter {
                "egress" => lines.egress(own),
                "fault" => lines.fault(own),
                "mirror" => lines.mirror(own),
                _ => lines.router(own),
            }
        }
        lines.text
    }
}

/// The explanations in a line.
fn explanations(line: &str) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    let mut rest = line;
    while let Some(start) = rest.find('{') {
        rest = rest.get(start..).unwrap_or_default();
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Map<String, Value>>();
        let Some(Ok(members)) = values.next() else { break };
        let is_of_filter =
            |(name, own): &(String, Value)| FILTERS.contains(&name.as_str()) && own.is_object();
        found.extend(members.into_iter().filter(is_of_filter));
        rest = rest.get(values.byte_offset()..).unwrap_or_default();
    }
    found
}

struct Lines<'a> {
    text: String,
    bundle: &'a Bundle,
}

impl Lines<'_> {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "{line}");
    }

    fn egress(&mut self, own: &Value) {
        let entry = own["serviceEntry"].as_str().map(|path| self.bundle.shown_place(path));
        let by = entry.map(|place| format!(", by {place}")).unwrap_or_default();
        let reason = own["reason"].as_str().unwrap_or_default();
        match (own["isRefused"] == true, reason) {
            (true, _) => self.line(format_args!("{BOLD}egress{BOLD:#}   refused: {reason}")),
            (false, "") => self.line(format_args!("{BOLD}egress{BOLD:#}   allowed{by}")),
            (false, _) => self.line(format_args!("{BOLD}egress{BOLD:#}   only reported: {reason}")),
        }
    }

    fn fault(&mut self, own: &Value) {
        let outcome = own["outcome"].as_str().unwrap_or_default();
        let rule = own["rule"].as_str().map(|rule| format!(", by {rule}")).unwrap_or_default();
        self.line(format_args!("{BOLD}fault{BOLD:#}    {outcome}{rule}"));
        if own["isOver"] == true {
            self.line(format_args!("  faults.notAfter has passed, so there are no faults"));
        }
        for (name, unit) in [
            ("delayMilliseconds", "ms of delay"),
            ("resetAfterBytes", "bytes before the reset"),
            ("bytesPerSecond", "bytes per second"),
        ] {
            if let Some(number) = own[name].as_u64() {
                self.line(format_args!("  {number} {unit}"));
            }
        }
        self.chances(own);
    }

    fn mirror(&mut self, own: &Value) {
        let copies = list(own, "copies").iter().filter_map(Value::as_str).collect::<Vec<_>>();
        let copies = if copies.is_empty() { "none".to_owned() } else { copies.join(", ") };
        let left_out = ["notSampled", "notEligible"].map(|name| own[name].as_u64().unwrap_or(0));
        self.line(format_args!("{BOLD}mirror{BOLD:#}   copies: {copies}"));
        if left_out != [0, 0] {
            let [sampled, eligible] = left_out;
            self.line(format_args!("  {sampled} not sampled, {eligible} not eligible"));
        }
        self.shadow(own);
        self.chances(own);
    }

    fn router(&mut self, own: &Value) {
        let text = |name: &str| own[name].as_str().unwrap_or_default().to_owned();
        self.line(format_args!("{BOLD}rules{BOLD:#}"));
        for rule in list(own, "rules") {
            let member = |name: &str| rule[name].as_str().unwrap_or_default();
            let (place, field) = (self.bundle.shown_place(member("place")), member("field"));
            self.line(format_args!("  {place} {BAD}does not match{BAD:#}"));
            let verb = if field.starts_with("withoutHeaders.") { "is not" } else { "is" };
            let (wanted, found) = (member("wanted"), member("found"));
            self.line(format_args!("    {BAD}no {BAD:#} {field} {verb} {wanted}: {found}"));
        }
        if let Some(omitted @ 1..) = own["rulesOmitted"].as_u64() {
            self.line(format_args!("  {omitted} more do not match"));
        }
        let place = own["place"].as_str().map(|path| self.bundle.shown_place(path));
        if let Some(place) = &place {
            self.line(format_args!("  {place} {GOOD}matches{GOOD:#}"));
        }
        let by = place.map(|place| format!(", by {place}")).unwrap_or_default();
        self.line(format_args!("{BOLD}router{BOLD:#}   {}{by}", text("outcome")));
        self.shadow(own);
        let shares: Vec<_> = list(own, "shares").iter().map(share).collect();
        if shares.len() > 1 {
            let how = list(own, "chances").is_empty().then_some(", by the hash of the user");
            self.line(format_args!("  one of {}{}", shares.join(", "), how.unwrap_or_default()));
        }
        self.chances(own);
        if let Some(status) = own["status"].as_u64() {
            self.line(format_args!("  status {status}"));
        }
        if own["cluster"].is_string() {
            self.line(format_args!("  cluster {}", text("cluster")));
        }
        let second = &own["shadow"];
        if second.is_object() {
            let member = |name: &str| second[name].as_str().unwrap_or_default();
            let cluster = match member("cluster") {
                "" => String::new(),
                cluster => format!(" to {cluster}"),
            };
            let by = self.bundle.shown_place(member("route"));
            let difference = match member("difference") {
                "" => "the same".to_owned(),
                difference => format!("another {difference}"),
            };
            let outcome = member("outcome");
            self.line(format_args!(
                "{BOLD}shadow{BOLD:#}   {difference}: {outcome}{cluster}, by {by}"
            ));
        }
    }

    /// Whether a decision is not carried out.
    fn shadow(&mut self, own: &Value) {
        if own["isShadow"] == true {
            self.line(format_args!("  only counted, because the mode is shadow"));
        }
    }

    /// The choices by numbers, those of a percentage in percent.
    fn chances(&mut self, own: &Value) {
        for chance in list(own, "chances") {
            let number = |name: &str| chance[name].as_u64();
            let of = chance["of"].as_str().unwrap_or_default();
            let (drawn, total) =
                (number("drawn").unwrap_or(0), number("total").unwrap_or(0).max(1));
            let percent = |number: u64| number as f64 * 100.0 / total as f64;
            match number("below") {
                Some(below) => {
                    let verb = if drawn < below { "is below" } else { "is not below" };
                    let (drawn, below) = (percent(drawn), percent(below));
                    self.line(format_args!("  {of}: the number {drawn} % {verb} {below} %"));
                }
                None => self.line(format_args!("  {of}: random number {drawn} of {total}")),
            }
        }
    }
}

fn list<'a>(own: &'a Value, name: &str) -> &'a [Value] {
    own[name].as_array().map_or(&[], Vec::as_slice)
}

fn share(own: &Value) -> String {
    let cluster = own["cluster"].as_str().unwrap_or_default();
    format!("{cluster} {}", own["weight"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(line: &str) -> Vec<String> {
        explanations(line).into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn headers_and_lines_of_a_log_have_explanations() {
        assert_eq!(names(r#"x-sluice-explain: {"router":{"rules":[{}]}}"#), ["router"]);
        let line = r#"[info][wasm] wasm log sluice: explained: {"fault":{}}, {"router":{}} (3 x)"#;
        assert_eq!(names(line), ["fault", "router"]);
        for other in ["", "server: envoy", "{", r#"{"a": 1} {"router": 2}"#, "{\"router\":{}"] {
            assert_eq!(names(other), [""; 0], "{other}");
        }
    }

    #[test]
    fn explanations_are_of_one_request() {
        let error = |text: &str| Explained::parse(text).err();
        assert_eq!(error("x").as_deref(), Some("--from-header: has no explanation of a filter"));
        let twice = "{\"router\":{}}\n{\"router\":{}}";
        let reason = "--from-header: router occurs twice; give one response";
        assert_eq!(error(twice).as_deref(), Some(reason));
    }
}
