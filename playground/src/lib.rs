//! `sluice check` and `sluice explain` for the script of a web page: texts in, JSON out.
//!
//! The answers are those of [`sluice_cli::page`], which are those of the command.

use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::{Value, json};
use sluice_cli::page::{self, Asked, Users};
use wasm_bindgen::prelude::wasm_bindgen;

/// A request of the page's form.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Form {
    /// The method with a URL or path
    request: String,
    /// Headers, each as `NAME: VALUE`
    headers: Vec<String>,
    /// The seed of random choices
    #[serde(default)]
    seed: u32,
    /// The time of the request, in milliseconds since 1970, as `Date.now()` returns it
    now: u64,
    /// The header with the user's name in simulated requests; empty for none
    #[serde(default)]
    user_header: String,
}

impl Form {
    fn read(form: &str) -> Result<(Self, Asked), String> {
        let form: Self = serde_json::from_str(form).map_err(|error| error.to_string())?;
        let asked = Asked {
            request: form.request.clone(),
            headers: form.headers.clone(),
            seed: form.seed.into(),
            now: SystemTime::UNIX_EPOCH + Duration::from_millis(form.now),
        };
        Ok((form, asked))
    }
}

/// Checks rules in YAML or JSON. Returns the findings as `sluice check --format json` writes them.
#[wasm_bindgen]
pub fn check(rules: &str) -> String {
    page::check(rules)
}

/// Explains the request of a form, `{"request": "GET /", "headers": [], "seed": 1, "now": 0}`.
/// Returns `{"notices", "text", "explanation"}` with the text and the JSON of `sluice explain`, or
/// `{"error"}` with the reason.
#[wasm_bindgen]
pub fn explain(rules: &str, form: &str) -> String {
    let explained = Form::read(form).and_then(|(_, asked)| page::explain(rules, &asked));
    answer(explained.and_then(|explained| {
        let json: Value =
            serde_json::from_str(&explained.json).map_err(|error| error.to_string())?;
        let (notices, text) = (explained.notices, explained.text);
        Ok(json!({"notices": notices, "text": text, "explanation": json}))
    }))
}

/// Counts what the filters do with the requests of `count` users, from the user `first` on. The
/// form is as for [`explain`], with `userHeader` in place of `seed`. Returns
/// `{"destinations", "effects"}`, both with numbers of requests, or `{"error"}` with the reason.
#[wasm_bindgen]
pub fn simulate(rules: &str, form: &str, first: u32, count: u32) -> String {
    let counts = Form::read(form).and_then(|(form, asked)| {
        page::simulate(rules, &asked, Users { header: &form.user_header, first, count })
    });
    answer(
        counts
            .map(|counts| json!({"destinations": counts.destinations, "effects": counts.effects})),
    )
}

fn answer(result: Result<Value, String>) -> String {
    result.unwrap_or_else(|error| json!({"error": error})).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = "\
clusterName: '{host}'
virtualServices:
- hosts: [a.com]
  http:
  - {match: [{headers: {end-user: {exact: user-3}}}], route: [{destination: {host: b.com}}]}
  - {route: [{destination: {host: c.com}}]}
";

    fn parse(answer: &str) -> Value {
        serde_json::from_str(answer).unwrap()
    }

    #[test]
    fn a_finding_has_its_place_and_reason() {
        let found = parse(&check(&RULES.replace("exact", "exakt")));
        let finding = &found["findings"][0];
        assert_eq!((&finding["severity"], &finding["line"]), (&json!("error"), &json!(5)));
        assert_eq!(finding["column"], json!(36), "{finding}");
        let path = "virtualServices[0].http[0].match[0].headers.end-user.exakt";
        assert_eq!(finding["path"], json!(path), "{finding}");
        assert!(finding["reason"].as_str().unwrap().contains("unknown field"), "{finding}");
        assert_eq!(parse(&check(RULES))["errors"], json!(0));
    }

    #[test]
    fn an_explanation_has_its_text_and_the_place_of_the_rule() {
        let form = r#"{"request": "GET /x", "headers": ["end-user: jim"], "seed": 1, "now": 0}"#;
        let explained = parse(&explain(RULES, form));
        let route = &explained["explanation"]["router"]["route"];
        assert_eq!((&route["file"], &route["line"]), (&json!("rules.yaml"), &json!(6)));
        let text = explained["text"].as_str().unwrap();
        assert!(text.starts_with("request  GET http://a.com/x\n"), "{text}");
        assert!(text.contains("router   forwards, by rules.yaml:6: "), "{text}");
    }

    #[test]
    fn simulated_requests_have_users() {
        let form = r#"{"request": "/", "headers": [], "now": 0, "userHeader": "end-user"}"#;
        let counts = parse(&simulate(RULES, form, 0, 10));
        assert_eq!(counts["destinations"], json!({"b.com": 1, "c.com": 9}));
        let counts = parse(&simulate(RULES, form, 4, 10));
        assert_eq!(counts["destinations"], json!({"c.com": 10}));
    }

    #[test]
    fn errors_have_a_reason() {
        let form = r#"{"request": "/", "headers": [], "now": 0}"#;
        for answer in [
            explain("virtualServices: 1", form),
            explain(RULES, "{}"),
            explain(RULES, &form.replace("now", "later")),
            simulate(RULES, &form.replace("[]", r#"["x"]"#), 0, 1),
        ] {
            let error = parse(&answer)["error"].as_str().unwrap_or_default().to_owned();
            assert!(error.len() > 5, "{answer}");
        }
    }
}
