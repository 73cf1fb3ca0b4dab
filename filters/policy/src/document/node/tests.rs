use super::*;
use crate::testing;

fn errors(text: &str, read: impl Fn(&Node<'_>)) -> String {
    let read = |node: &Node<'_>| {
        read(node);
        Some(())
    };
    testing::read(text, read).err().unwrap_or_default()
}

#[test]
fn unknown_fields_are_all_named_with_the_nearest_known_one() {
    let text = r#"{"rout": 1, "zzz": 2, "fixed_delay": "5s"}"#;
    let found = errors(text, |node| {
        let mut object = node.object().unwrap();
        object.field("route");
        assert_eq!(object.string("fixedDelay"), Some("5s"));
    });
    assert_eq!(
        found,
        "rout: unknown field, did you mean \"route\"?\n\
         zzz: unknown field, known are route, fixedDelay"
    );
}

#[test]
fn names_with_digits_have_two_spellings_too() {
    for name in ["consecutive5xxErrors", "consecutive_5xx_errors", "consecutive5xx_errors"] {
        assert!(is_field(name, "consecutive5xxErrors"), "{name}");
    }
    assert!(!is_field("consecutive__5xx_errors", "consecutive5xxErrors"));
}

#[test]
fn a_field_that_is_given_twice_is_refused_in_either_spelling() {
    let text = r#"{"fixedDelay": "1s", "fixed_delay": "2s"}"#;
    let found = errors(text, |node| {
        node.object().unwrap().field("fixedDelay");
    });
    assert_eq!(found, "fixed_delay: is given twice");
    let found = errors(r#"{"x": 1, "x": 2}"#, |node| {
        node.entries();
    });
    assert_eq!(found, "x: is given twice");
}

#[test]
fn wrong_types_name_the_value() {
    let text = r#"{"a": [], "b": "1", "c": 1.5, "d": 70000, "e": {}}"#;
    let found = errors(text, |node| {
        let mut object = node.object().unwrap();
        object.string("a");
        object.field("b").unwrap().integer();
        object.field("c").unwrap().integer();
        object.field("d").unwrap().port();
        object.list("e");
    });
    assert_eq!(
        found,
        "a: [] is not a string\nb: \"1\" is not an integer\nc: 1.5 is not an integer\n\
         d: 70000 is not in 1..=65535\ne: {} is not a list"
    );
}

#[test]
fn numbers_may_be_strings() {
    let text = r#"["12.5", "1e2", "-0", "", "1 %", "inf", "0x1", "1e999", "5."]"#;
    let numbers = std::cell::RefCell::new(Vec::new());
    let found = errors(text, |node| {
        *numbers.borrow_mut() = node.elements().iter().filter_map(Node::number).collect();
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
    let found = errors(r#"{"a": null, "b": 50.0}"#, |node| {
        let mut object = node.object().unwrap();
        assert!(object.field("a").is_none());
        assert_eq!(object.field("b").unwrap().integer(), Some(50));
    });
    assert_eq!(found, "");
}
