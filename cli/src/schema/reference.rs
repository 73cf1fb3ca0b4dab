//! `docs/reference.md`: all fields of the document, from the declarations that the schema is made
//! from too. `UPDATE_GOLDEN=1` writes the page anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use sluice_policy::document::fields::{FieldSchema, Fields, Kind, ObjectSchema};
use sluice_policy::spec::document::Document;

const PAGE: &str = "../docs/reference.md";

/// What comes before the tables.
const HEAD: &str = "\
# Reference

All fields of the [document](configuration.md), made from the declarations by which the filters read
it. `sluice schema` prints the same as a JSON Schema for editors, see
[the command](../cli/README.md#schema). The READMEs of the [filters](../README.md#filters) say more
about each field.

- Each object is a section; below its name is where the document has it. `[]` is an element of a
  list, `*` a name that you choose.
- Durations are those of Go, such as `1.5s` or `1h30m`, and longer than 0.
- `null` is the same as an absent field. Unknown fields are errors.
- All filters check a field. The last column says which of them use it. What egress, fault, mirror
  and router use, `sluice.wasm` and `libsluice.so` use too; `libsluice.so` also has outlier.
";

const ALL: &[&str] = &["egress", "fault", "mirror", "outlier", "router", "sni"];
const HTTP: &[&str] = &["fault", "mirror", "router"];
/// The mirror filter leaves out requests that a rule answers.
const ROUTED: &[&str] = &["mirror", "router"];
const CLUSTERS: &[&str] = &["mirror", "router", "sni"];

/// The filters that use a field, with all that is in it unless that has a line of its own.
const READERS: &[(&str, &[&str])] = &[
    ("PluginDocument.namespace", ALL),
    ("PluginDocument.clusterName", &["mirror", "outlier", "router", "sni"]),
    ("PluginDocument.proxy", &["fault", "mirror", "outlier", "router", "sni"]),
    ("PluginDocument.virtualServices", &["fault", "mirror", "router", "sni"]),
    ("PluginDocument.httpRoutes", ROUTED),
    ("PluginDocument.grpcRoutes", ROUTED),
    ("PluginDocument.destinationRules", &["outlier"]),
    ("PluginDocument.serviceEntries", &["egress", "mirror", "router", "sni"]),
    ("PluginDocument.services", CLUSTERS),
    ("PluginDocument.outboundTrafficPolicy", &["egress"]),
    ("PluginDocument.unmatchedHosts", &["router"]),
    ("PluginDocument.shadow", &["router"]),
    ("PluginDocument.router", &["router"]),
    ("PluginDocument.sampling", HTTP),
    ("PluginDocument.faults", &["fault"]),
    ("PluginDocument.mirroring", &["mirror"]),
    ("PluginDocument.metrics", &["router"]),
    ("PluginDocument.sni", &["sni"]),
    ("PluginDocument.egress", &["egress"]),
    ("PluginDocument.outlier", &["outlier"]),
    ("PluginDocument.explain", &["egress", "fault", "router"]),
    ("VirtualService.http", HTTP),
    ("VirtualService.tls", &["sni"]),
    ("HTTPRoute.corsPolicy", ROUTED),
    ("HTTPRoute.directResponse", ROUTED),
    ("HTTPRoute.fault", &["fault"]),
    ("HTTPRoute.headers", &["router"]),
    ("HTTPRoute.mirror", &["mirror"]),
    ("HTTPRoute.mirrorPercent", &["mirror"]),
    ("HTTPRoute.mirrorPercentage", &["mirror"]),
    ("HTTPRoute.mirrors", &["mirror"]),
    ("HTTPRoute.redirect", ROUTED),
    ("HTTPRoute.retries", &["router"]),
    ("HTTPRoute.rewrite", &["router"]),
    ("HTTPRoute.route", &["router"]),
    ("HTTPRoute.timeout", &["router"]),
    ("GatewayHTTPRouteRule.backendRefs", &["router"]),
    ("GatewayHTTPRouteRule.retry", &["router"]),
    ("GatewayHTTPRouteRule.timeouts", &["router"]),
    ("GatewayGRPCRouteRule.backendRefs", &["router"]),
    ("GatewayHTTPRouteFilter.cors", ROUTED),
    ("GatewayHTTPRouteFilter.requestHeaderModifier", &["router"]),
    ("GatewayHTTPRouteFilter.requestMirror", &["mirror"]),
    ("GatewayHTTPRouteFilter.responseHeaderModifier", &["router"]),
    ("GatewayHTTPRouteFilter.urlRewrite", &["router"]),
    ("GatewayGRPCRouteFilter.requestHeaderModifier", &["router"]),
    ("GatewayGRPCRouteFilter.requestMirror", &["mirror"]),
    ("GatewayGRPCRouteFilter.responseHeaderModifier", &["router"]),
    ("ServiceEntry.addresses", &["egress"]),
    ("ServiceEntry.resolution", &["egress"]),
    ("ServiceEntryPort.protocol", &["egress"]),
];

/// How the descriptions of fields say that no filter uses them.
const UNUSED: [&str; 5] = [
    "Not carried out by the filters",
    "Has no effect",
    "not used by the filters",
    "the filters only check",
    "the filters do not use",
];

type Readers = BTreeSet<&'static str>;

/// The objects in the order in which the document refers to them.
#[derive(Default)]
struct Objects {
    order: Vec<&'static ObjectSchema>,
    /// Where the document has an object, by the name of the object
    places: BTreeMap<&'static str, BTreeSet<String>>,
    /// The filters that use a field, by `OBJECT.FIELD`
    readers: BTreeMap<String, Readers>,
}

impl Objects {
    /// Adds an object at a place, and those of its fields. `readers` use the field with the object.
    fn add(&mut self, object: &'static ObjectSchema, place: &str, readers: &Readers) {
        if !self.order.iter().any(|own| own.name == object.name) {
            self.order.push(object);
        }
        let places = self.places.entry(object.name).or_default();
        // A rewrite of a rewrite would have no end.
        assert!(place.len() < 200, "{} contains itself", object.name);
        places.insert(place.to_owned());
        for field in supported(object) {
            let name = format!("{}.{}", object.name, field.name);
            let own = READERS.iter().find(|(own, _)| *own == name);
            let own: Readers = match own {
                Some((_, own)) if readers.is_empty() => own.iter().copied().collect(),
                Some((_, own)) => {
                    readers.intersection(&own.iter().copied().collect()).copied().collect()
                }
                None => readers.clone(),
            };
            self.readers.entry(name).or_default().extend(&own);
            let dot = if place.is_empty() { "" } else { "." };
            self.add_of_kind(&field.kind, &format!("{place}{dot}{}", field.name), &own);
        }
    }

    fn add_of_kind(&mut self, kind: &Kind, place: &str, readers: &Readers) {
        match kind {
            Kind::AnyOf(kind, _) | Kind::Nullable(kind) => self.add_of_kind(kind, place, readers),
            Kind::Either(kinds) => {
                kinds.iter().for_each(|kind| self.add_of_kind(kind, place, readers));
            }
            Kind::List(kind) | Kind::RequiredList(kind) => {
                self.add_of_kind(kind, &format!("{place}[]"), readers);
            }
            Kind::Map(kind) => self.add_of_kind(kind, &format!("{place}.*"), readers),
            Kind::Object(object) => self.add(object(), place, readers),
            _ => {}
        }
    }
}

fn supported(object: &'static ObjectSchema) -> impl Iterator<Item = &'static FieldSchema> {
    object.fields.iter().filter(|field| !matches!(field.kind, Kind::Unsupported))
}

/// A kind in the words of the page.
fn words(kind: &Kind) -> String {
    let code = |words: &[&str]| {
        let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
        words.join(", ")
    };
    match kind {
        Kind::Any | Kind::Unsupported => "any value".to_owned(),
        Kind::AnyOf(kind, _) | Kind::Nullable(kind) => words(kind),
        Kind::Boolean => "boolean".to_owned(),
        Kind::Duration => "duration".to_owned(),
        Kind::Either(kinds) => kinds.iter().map(words).collect::<Vec<_>>().join(" or "),
        Kind::Integer(least, most) if *most >= Kind::MAX_U32 => format!("integer from {least}"),
        Kind::Integer(least, most) => format!("integer from {least} to {most}"),
        Kind::List(kind) => format!("list of {}", words(kind)),
        Kind::Map(kind) => format!("map of {}", words(kind)),
        Kind::Object(object) => {
            let name = object().name;
            format!("[{name}](#{})", name.to_ascii_lowercase())
        }
        Kind::OneOf(words) | Kind::OneOfInAnyCase(words) => code(words),
        Kind::OneOfIntegers(numbers) => {
            numbers.iter().map(|number| format!("`{number}`")).collect::<Vec<_>>().join(", ")
        }
        Kind::Pattern(_) | Kind::Text => "string".to_owned(),
        Kind::Percentage => "number from 0 to 100".to_owned(),
        Kind::RequiredList(kind) => format!("list of {}, not empty", words(kind)),
    }
}

/// The default of a field, as its description says it; empty if it does not.
fn default_of(field: &FieldSchema) -> String {
    let text = field.description;
    let until = |text: &str, ends: &[&str]| {
        let end = ends.iter().filter_map(|end| text.find(end)).min().unwrap_or(text.len());
        text[..end].trim().to_owned()
    };
    if field.is_required {
        return "required".to_owned();
    }
    if let Some((before, _)) = text.split_once(" (default)") {
        return format!("`{}`", before.rsplit(' ').next().unwrap());
    }
    for mark in ["Default: ", "if absent, ", "If absent, "] {
        if let Some((_, after)) = text.split_once(mark) {
            let own = until(after, &["; ", ". ", ", as in"]);
            return own.trim_end_matches('.').to_owned();
        }
    }
    match text.split_once(" if absent") {
        Some((before, _)) => {
            let start = ["; ", ". ", ": "].iter().filter_map(|end| before.rfind(end)).max();
            before[start.map_or(0, |start| start + 2)..].to_owned()
        }
        None => String::new(),
    }
}

/// What a field is for, without the default if that is its end.
fn meaning(field: &FieldSchema) -> String {
    let text = field.description;
    let cut = text.strip_suffix(" if absent.").and_then(|text| text.rsplit_once("; "));
    cut.map_or(text.to_owned(), |(before, _)| format!("{before}."))
}

/// A text in a cell of a table. Markdown would take some characters for its own.
fn cell(text: &str) -> String {
    let mut shown = String::new();
    for character in text.chars() {
        if "|*<{[_".contains(character) {
            shown.push('\\');
        }
        shown.push(character);
    }
    shown
}

fn page() -> String {
    let mut objects = Objects::default();
    objects.add(Document::schema(), "", &Readers::new());
    let mut page = HEAD.to_owned();
    for object in &objects.order {
        let mut places: Vec<_> =
            objects.places[object.name].iter().map(|own| own.as_str()).collect();
        places.sort_by_key(|place| place.len());
        let name = object.name;
        write!(page, "\n## {name}\n\n").unwrap();
        for line in wrapped(&format!("{} {}", cell(object.description), places_of(&places))) {
            writeln!(page, "{line}").unwrap();
        }
        page.push_str("\n| field | type | default | meaning | used by |\n|---|---|---|---|---|\n");
        for field in supported(object) {
            let is_unused = UNUSED.iter().any(|words| field.description.contains(words))
                || UNUSED.iter().any(|words| object.description.contains(words));
            let readers = objects.readers[&format!("{name}.{}", field.name)].iter().copied();
            let readers = if is_unused { Vec::new() } else { readers.collect::<Vec<_>>() };
            let readers = match readers.as_slice() {
                [] => "none".to_owned(),
                all if all == ALL => "all".to_owned(),
                some => some.join(", "),
            };
            let (kind, default) = (words(&field.kind), default_of(field));
            let default = if default.starts_with('`') { default } else { cell(&default) };
            let meaning = cell(&meaning(field));
            let row = [format!("`{}`", field.name), kind, default, meaning, readers];
            writeln!(page, "| {} |", row.join(" | ").replace(" |  | ", " | | ")).unwrap();
        }
    }
    page
}

/// The shortest places of an object, which stand for the others.
fn places_of(places: &[&str]) -> String {
    const SHOWN: usize = 3;
    let first = |place: &&&str| !place.is_empty();
    let shown: Vec<_> =
        places.iter().filter(first).take(SHOWN).map(|place| format!("`{place}`")).collect();
    match (shown.is_empty(), places.len() > SHOWN) {
        (true, _) => "The whole document.".to_owned(),
        (_, false) => format!("At {}.", shown.join(", ")),
        (_, true) => format!("At {} and {} more.", shown.join(", "), places.len() - SHOWN),
    }
}

/// Breaks a paragraph into lines of at most 100 characters.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().unwrap();
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > 100 {
            lines.push(word.to_owned());
        } else {
            line.push_str(if line.is_empty() { "" } else { " " });
            line.push_str(word);
        }
    }
    lines
}

#[test]
fn the_page_has_the_fields_of_the_declarations() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == page(), "UPDATE_GOLDEN=1 writes {PAGE} anew");
}

/// A renamed field must not keep its line.
#[test]
fn readers_are_those_of_fields() {
    let mut objects = Objects::default();
    objects.add(Document::schema(), "", &Readers::new());
    for (name, readers) in READERS {
        let known = objects.readers.get(*name).unwrap_or_else(|| panic!("no field {name}"));
        assert!(readers.iter().all(|own| known.contains(own)), "{name}: {known:?}");
    }
    let without: Vec<_> = objects.readers.iter().filter(|(_, own)| own.is_empty()).collect();
    assert!(without.is_empty(), "{without:?}");
    assert!(objects.readers.len() > 300, "{}", objects.readers.len());
}

#[test]
fn defaults_are_taken_from_descriptions() {
    let default = |description: &'static str| {
        let field = FieldSchema { name: "x", description, kind: Kind::Any, is_required: false };
        (default_of(&field), meaning(&field))
    };
    let own = |default: &str, meaning: &str| (default.to_owned(), meaning.to_owned());
    assert_eq!(default("Length, such as 2s; 5s if absent."), own("5s", "Length, such as 2s."));
    let text = "Number; 5 if absent or 0.";
    assert_eq!(default(text), own("5", text));
    let text = "Whom: refuse (default) or allow.";
    assert_eq!(default(text), own("`refuse`", text));
    let text = "Name. Default: a,b, as in Istio.";
    assert_eq!(default(text), own("a,b", text));
    let text = "Port; if absent, the other one; or none.";
    assert_eq!(default(text), own("the other one", text));
    assert_eq!(default("100 if absent."), own("100", "100 if absent."));
    assert_eq!(default("Some text."), own("", "Some text."));
}
