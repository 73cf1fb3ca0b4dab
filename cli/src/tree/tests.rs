use super::*;
use crate::yaml::parse;

#[test]
fn paths_lead_to_lines() {
    let text = "a:\n- b-c: 1\n  d.e: 2\n- x\n\"\": 3\nf:\n  g: {}\n";
    let root = parse(text).unwrap().remove(0);
    let line = |path: &str| (find(&root, path).position().line, find(&root, path).is_exact);
    assert_eq!(line(""), (1, true));
    assert_eq!(line("a[0].b-c"), (2, true));
    assert_eq!(line("a[0][\"d.e\"]"), (3, true));
    assert_eq!(line("a[1]"), (4, true));
    assert_eq!(line("[\"\"]"), (5, true));
    assert_eq!(line("f.g.missing"), (7, false));
}

#[test]
fn paths_lead_to_values_to_change() {
    let mut root = parse("{a: [1, {b.c: 2}], d: 3}").unwrap().remove(0);
    *find_mut(&mut root, "a[1][\"b.c\"]").unwrap() = Tree::text("x");
    *find_mut(&mut root, "d").unwrap() = Tree::text("y");
    assert_eq!(root.to_json(), r#"{"a":[1,{"b.c":"x"}],"d":"y"}"#);
    for path in ["a[2]", "a.b", "d.e", "f"] {
        assert!(find_mut(&mut root, path).is_none(), "{path}");
    }
}

#[test]
fn json_is_written_compact_and_pretty() {
    let root = parse("{a: [1, 1.5, \"x\\n\"], b: {}, c: null, a: true}").unwrap().remove(0);
    assert_eq!(root.to_json(), r#"{"a":[1,1.5,"x\n"],"b":{},"c":null,"a":true}"#);
    let pretty = parse("{a: [1], b: {}}").unwrap().remove(0).to_pretty_json();
    assert_eq!(pretty, "{\n  \"a\": [\n    1\n  ],\n  \"b\": {}\n}");
}
