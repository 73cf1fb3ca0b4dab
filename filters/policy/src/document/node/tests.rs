use super::*;
use crate::document::fields::fields;
use crate::testing;

struct Example;

fields!(Example, "An example.", {
    "route": Kind::Any => "Anything.";
    "fixedDelay" required: Kind::Text => "A text.";
    "list": Kind::TEXTS => "A list.";
    "exact": Kind::Text => "One.";
    "prefix": Kind::Text => "Another.";
});

fn errors<T>(text: &str, read: impl Fn(&Node<'_>) -> Result<T, Reported>) -> String {
    testing::read(text, read).err().unwrap_or_default()
}

#[test]
fn unknown_fields_are_all_named_with_the_nearest_known_one() {
    let text = r#"{"rout": 1, "zzz": 2, "fixed_delay": "5s"}"#;
    let found = errors(text, |node| {
        let object = node.object::<Example>()?;
        assert_eq!(object.string("fixedDelay"), Ok(Some("5s")));
        Ok(())
    });
    assert_eq!(
        found,
        "rout: unknown field, did you mean \"route\"?\n\
         zzz: unknown field, the fields here are route, fixedDelay, list, exact, prefix"
    );
}

#[test]
fn an_error_in_one_field_says_nothing_about_the_others() {
    let text = r#"{"fixedDelay": 1, "list": ["a", 2, "b", 3], "route": 4}"#;
    let found = errors(text, |node| {
        let object = node.object::<Example>()?;
        let (delay, list) = (object.string("fixedDelay"), object.list("list", Node::text));
        delay?;
        list
    });
    assert_eq!(
        found,
        "fixedDelay: 1 is not a string\nlist[1]: 2 is not a string\nlist[3]: 3 is not a string"
    );
}

#[test]
fn a_field_that_is_given_twice_is_refused_in_either_spelling() {
    let text = r#"{"fixedDelay": "1s", "fixed_delay": "2s"}"#;
    assert_eq!(
        errors(text, |node| node.object::<Example>().map(drop)),
        "fixed_delay: occurs twice"
    );
    let text = r#"{"fixed_delay": null, "fixedDelay": "2s"}"#;
    assert_eq!(errors(text, |node| node.object::<Example>().map(drop)), "fixedDelay: occurs twice");
    assert_eq!(errors(r#"{"x": 1, "x": 2}"#, |node| node.entries().map(drop)), "x: occurs twice");
}

#[test]
fn wrong_types_name_the_value() {
    let refusal = |text, read: fn(&Node<'_>) -> Result<(), Reported>| errors(text, read);
    assert_eq!(refusal("[]", |node| node.string().map(drop)), "configuration: [] is not a string");
    assert_eq!(
        refusal("\"1\"", |node| node.integer().map(drop)),
        "configuration: \"1\" is not a whole number"
    );
    assert_eq!(
        refusal("1.5", |node| node.integer().map(drop)),
        "configuration: 1.5 is not a whole number"
    );
    assert_eq!(
        refusal("70000", |node| node.port().map(drop)),
        "configuration: 70000 is not in the range 1 to 65535"
    );
    assert_eq!(refusal("{}", |node| node.elements().map(drop)), "configuration: {} is not a list");
    assert_eq!(
        refusal("1", |node| node.boolean().map(drop)),
        "configuration: 1 is neither true nor false"
    );
}

#[test]
fn one_of_several_fields_is_required() {
    let names = ["exact", "prefix"];
    let refusal =
        |text| errors(text, |node| node.object::<Example>()?.exactly_one(&names).map(drop));
    assert_eq!(refusal("{}"), "configuration: must have one of exact, prefix");
    assert_eq!(
        refusal(r#"{"exact": "a", "prefix": "b"}"#),
        "configuration: cannot have both exact and prefix"
    );
    assert_eq!(refusal(r#"{"exact": null, "prefix": "b"}"#), "");
}

#[test]
fn numbers_may_be_strings() {
    let text = r#"["12.5", "1e2", "-0", "", "1 %", "inf", "0x1", "1e999", "5."]"#;
    let numbers = std::cell::RefCell::new(Vec::new());
    let found = errors(text, |node| {
        let read = |node: &Node<'_>| node.number();
        *numbers.borrow_mut() =
            node.elements()?.iter().filter_map(|node| read(node).ok()).collect();
        Ok(())
    });
    assert_eq!(numbers.into_inner(), [12.5, 100.0, 0.0]);
    assert_eq!(
        found,
        "[3]: \"\" is not a number\n[4]: \"1 %\" is not a number\n[5]: \"inf\" is not a number\n\
         [6]: \"0x1\" is not a number\n[7]: \"1e999\" is not a number\n\
         [8]: \"5.\" is not a number"
    );
}

#[test]
fn null_is_absent_and_whole_floats_are_integers() {
    let found = errors(r#"{"route": null, "list": 50.0}"#, |node| {
        let object = node.object::<Example>()?;
        assert!(object.field("route").is_none());
        assert_eq!(object.field("list").unwrap().integer(), Ok(50));
        Ok(())
    });
    assert_eq!(found, "");
}
