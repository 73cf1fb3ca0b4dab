use super::*;

fn json(text: &str) -> String {
    let documents = parse(text).unwrap();
    documents.iter().map(Tree::to_json).collect::<Vec<_>>().join(" ")
}

#[test]
fn scalars_follow_the_core_schema() {
    let text = "[~, null, true, False, 7, -7, 0x1F, 0o17, 1.5, 1e3, 7s, yes, '7', !!str 7, .inf, 1e999,\
        9223372036854775808]";
    assert_eq!(
        json(text),
        r#"[null,null,true,false,7,-7,31,15,1.5,1000.0,"7s","yes","7","7",".inf","1e999",9.223372036854776e+18]"#
    );
}

#[test]
fn documents_anchors_and_merge_keys_are_read() {
    assert_eq!(
        json("---\na: &x {b: 1}\nc: *x\n---\n# nothing\n---\n- 1\n"),
        r#"{"a":{"b":1},"c":{"b":1}} [1]"#
    );
    assert_eq!(
        json("x: &x {a: 1, b: 2}\ny:\n  <<: *x\n  a: 3\n"),
        r#"{"x":{"a":1,"b":2},"y":{"a":3,"b":2}}"#
    );
    assert_eq!(json("a: 1\na: 2\n80: x\n"), r#"{"a":1,"a":2,"80":"x"}"#);
}

#[test]
fn json_that_is_not_yaml_is_read() {
    assert_eq!(json("{\n\t\"a\": [\n\t\t1\n\t]\n}"), r#"{"a":[1]}"#);
    assert_eq!(
        json("{\n\t\"a\\t\": \"\\ud83d\\ude00\\/\\u0041\\\\u0041\\\"\\u0007\\u00e9\"}"),
        "{\"a\\t\":\"\u{1f600}/A\\\\u0041\\\"\\u0007\u{e9}\"}"
    );
    // Lines and duplicate keys are kept.
    let documents = parse("{\n\t\"a\": \"\\ud83d\\ude00\",\n\t\"a\": 1\n}").unwrap();
    let lines = documents[0].fields().iter().map(|(key, _)| (&*key.text, key.line));
    assert_eq!(lines.collect::<Vec<_>>(), [("a", 2), ("a", 3)]);
    let error = parse("{\"a\": 1,\n \"b\" }}").unwrap_err();
    assert_eq!(error.at.line, 2);
}

#[test]
fn syntax_errors_have_a_line() {
    for (text, line) in
        [("a: 1\nb: [1\n", 3), ("a:\n\tb: 1\n", 2), ("a: *nobody\n", 1), ("? {a: 1}\n: 2\n", 1)]
    {
        let found = parse(text);
        assert_eq!(found.as_ref().map_err(|error| error.at.line), Err(line), "{text:?}: {found:?}");
    }
}

#[test]
fn short_texts_cannot_fill_the_memory() {
    let refused = |text: &str| parse(text).unwrap_err().reason;
    assert!(refused(&"[".repeat(100_000)).contains("recursion limit"));
    assert_eq!(refused(&"- ".repeat(100_000)), too_deep());
    let mut laughs = "a: &a [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for (one, next) in "abcdefg".chars().zip("bcdefgh".chars()) {
        laughs.push_str(&format!("{next}: &{next} [{}]\n", vec![format!("*{one}"); 10].join(",")));
    }
    let long = "x".repeat(1_000_000);
    let nested = |levels: usize| {
        let start: String = (0..levels).map(|level| format!("&a{level} [")).collect();
        format!("{start}{long}{}", "]".repeat(levels))
    };
    let repeated = format!("a: &a {long}\nb: [{}]", "*a,".repeat(100));
    for text in [laughs, nested(100), repeated] {
        assert!(refused(&text).contains("anchors and aliases"));
    }
    assert_eq!(parse(&nested(20)).unwrap().len(), 1);
    let step = |level: usize| format!("a{}: &a{} [*a{level}]\n", level + 1, level + 1);
    let stairs = |levels| "a0: &a0 x\n".to_owned() + &(0..levels).map(step).collect::<String>();
    assert_eq!(parse(&stairs(126)).unwrap().len(), 1);
    assert_eq!(refused(&stairs(127)), too_deep());
}

#[test]
fn values_and_keys_have_columns() {
    let text = "a: 600\nb: \"x y\" # z\nc: [1, {d: e}]\nf:\n  g: h\n\u{e4}: \u{e4}\ni: |\n  j\n\
        k: ['it''s', \"\\\"\" , \"a\n b\"]\n";
    let root = parse(text).unwrap().remove(0);
    let columns = |path: &str| {
        let found = crate::tree::find(&root, path);
        (found.key.map(|key| key.columns.range()), found.tree.columns.range())
    };
    let key = |start, end| Some(Some((start, Some(end))));
    assert_eq!(columns("a"), (key(1, 2), Some((4, Some(7)))));
    assert_eq!(columns("b"), (key(1, 2), Some((4, Some(9)))));
    assert_eq!(columns("c"), (key(1, 2), Some((4, Some(15)))));
    assert_eq!(columns("c[0]"), (None, Some((5, Some(6)))));
    assert_eq!(columns("c[1].d"), (key(9, 10), Some((12, Some(13)))));
    assert_eq!(columns("f"), (key(1, 2), Some((3, None))));
    assert_eq!(columns("f.g"), (key(3, 4), Some((6, Some(7)))));
    // Its text starts in the next line.
    assert_eq!(columns("i"), (key(1, 2), Some((3, None))));
    assert_eq!(columns("k[0]"), (None, Some((5, Some(12)))));
    assert_eq!(columns("k[1]"), (None, Some((14, Some(18)))));
    assert_eq!(columns("k[2]"), (None, Some((21, None))));
}
