//! Files that are too much to be kept, or that tools would change: each is refused with a reason, and nothing is
//! worse than that. What fits into a file is in `tests/golden`.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::Write as _;
use std::process::{Command, Stdio};

/// The exit status and what is printed, without what is on standard input being waited for.
fn sluice(arguments: &[&str], input: &[u8]) -> (i32, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // What is too long is not read to its end.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (output.status.code().unwrap(), out + &err)
}

/// Asserts that each text is refused with one error and so does every command, in the same words.
fn assert_refused(text: &[u8], error: &str) {
    let (status, printed) = sluice(&["check", "-"], text);
    let shown = String::from_utf8_lossy(text.get(..100).unwrap_or(text)).into_owned();
    assert_eq!(printed, format!("{error}\n1 file, 1 error, 0 warnings\n"), "{shown}");
    assert_eq!(status, 1, "{shown}");
    for command in [&["render", "-"][..], &["explain", "-", "--request", "/"]] {
        assert_eq!(sluice(command, text), (1, format!("{error}\n")), "{command:?} {shown}");
    }
}

#[test]
fn deep_nesting_is_refused() {
    let levels = 100_000;
    let deep = "-: error: is nested more than 127 levels deep";
    for (text, error) in [
        ("- ".repeat(levels), deep.replacen(':', ":1:", 1)),
        (format!("a: {}", "{a: ".repeat(levels)), deep.replacen(':', ":1:", 1)),
        (
            (0..1000).map(|level| format!("{:level$}a:\n", "")).collect(),
            deep.replacen(':', ":128:", 1),
        ),
        (
            "[".repeat(levels) + &"]".repeat(levels),
            "-:1: error: is neither JSON nor YAML: recursion limit exceeded at line 1 column 128"
                .to_owned(),
        ),
        (
            format!("clusterName: {}", "[".repeat(levels)),
            "-:1: error: is not YAML: recursion limit exceeded".to_owned(),
        ),
        (
            "{\n\"a\":".repeat(levels),
            "-:128: error: is neither JSON nor YAML: recursion limit exceeded at line 128 column 5"
                .to_owned(),
        ),
        ("? ".repeat(levels), "-:1: error: is a key that is not a string".to_owned()),
    ] {
        assert_refused(text.as_bytes(), &error);
    }
}

#[test]
fn what_grows_is_refused() {
    let laughs: String = (1..20)
        .map(|level| {
            format!("a{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 9].join(","))
        })
        .collect();
    let laughs = format!("a0: &a0 [lol]\n{laughs}");
    let error = "-:7: error: has anchors and aliases of more than 67108864 bytes";
    assert_refused(laughs.as_bytes(), error);
    let long = "x".repeat(1_000_000);
    let repeated = format!("a: &a {long}\nb:\n{}", "- *a\n".repeat(100));
    assert_refused(
        repeated.as_bytes(),
        "-:69: error: has anchors and aliases of more than 67108864 bytes",
    );
}

#[test]
fn long_files_are_refused() {
    let error = "-: error: is longer than 33554432 bytes";
    assert_refused(&b"# nothing\n".repeat(10_000_000), error);
    if cfg!(target_os = "linux") {
        let (status, printed) = sluice(&["check", "/dev/zero"], b"");
        assert_eq!(
            printed,
            "/dev/zero: error: is longer than 33554432 bytes\n1 file, 1 error, 0 warnings\n"
        );
        assert_eq!(status, 1);
    }
    // The longest that is read.
    assert_refused(&b"#".repeat(32 << 20), "-: error: is empty");
}

/// Editors and other systems write lines differently. The same is found in the same lines.
#[test]
fn lines_are_counted_however_they_end() {
    let text = "clusterName: 7\nvirtualServices:\n- hosts: [a.com]\n  # none\n  http: {}\n";
    let found = sluice(&["check", "-"], text.as_bytes());
    let expected = "-:1: error: clusterName: 7 is not a string\n\
                    -:5: error: virtualServices[0].http: {} is not a list\n\
                    1 file, 2 errors, 0 warnings\n";
    assert_eq!(found, (1, expected.to_owned()));
    for other in [text.replace('\n', "\r\n"), text.replace('\n', "\r"), format!("\u{feff}{text}")] {
        assert_eq!(sluice(&["check", "-"], other.as_bytes()), found, "{other:?}");
    }
    let right = "\u{feff}virtualServices:\r\n- hosts: [a.com]\r\n  http:\r\n  - directResponse: {status: 200}\r\n";
    let nothing = (0, "1 file, 0 errors, 0 warnings\n".to_owned());
    assert_eq!(sluice(&["check", "-"], right.as_bytes()), nothing);
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_refused(&[&b"\xff\xfe"[..], &utf16].concat(), "-:1: error: is not text in UTF-8");
}

/// Every outcome has its exit status: 0, 1 for errors in files, 2 for what is not understood.
#[test]
fn exit_statuses_tell_what_happened() {
    let right = b"virtualServices: [{hosts: [a.com], http: [{directResponse: {status: 200}}]}]";
    for (arguments, input, expected) in [
        (&["check", "-"][..], &right[..], 0),
        (&["check", "--format", "json", "-"], right, 0),
        (&["explain", "-", "-r", "/"], right, 0),
        (&["render", "-"], right, 0),
        (&["schema"], b"", 0),
        (&["--version"], b"", 0),
        (&["help", "render"], b"", 0),
        (&["check", "-"], b"a: 1", 1),
        (&["check", "--format", "json", "-"], b"a: 1", 1),
        (&["check", "/nowhere"], b"", 1),
        (&["explain", "-", "-r", "/"], b"a: 1", 1),
        (&["render", "-"], b"a: 1", 1),
        (&["render", "/"], b"", 1),
        (&[], b"", 2),
        (&["check"], b"", 2),
        (&["check", "--nothing", "-"], right, 2),
        (&["explain", "-"], right, 2),
        (&["explain", "-", "-r", "ftp://a.com/"], right, 2),
        (&["explain", "-", "-r", "/", "--claim", "x"], right, 2),
        (&["explain", "-", "-r", "/", "--seed", "many"], right, 2),
        (&["render", "-", "--to", "xds"], right, 2),
        (&["render", "-", "--to", "wasmplugin"], right, 2),
        (&["render", "-", "--listen", "somewhere", "--to", "envoy"], right, 2),
        (&["schema", "more"], b"", 2),
    ] {
        let (status, printed) = sluice(arguments, input);
        assert_eq!(status, expected, "{arguments:?}: {printed}");
    }
}

/// A random choice can be had again by the seed that is told.
#[test]
fn the_seed_that_is_told_repeats_the_choice() {
    let document =
        b"clusterName: '{host}'\nvirtualServices:\n- hosts: [a.com]\n  http:\n  - route:\n    \
        - {destination: {host: b}, weight: 50}\n    - {destination: {host: c}, weight: 50}\n";
    let arguments = ["explain", "-", "--request", "/"];
    let (status, first) = sluice(&arguments, document);
    assert_eq!(status, 0, "{first}");
    let (explanation, seed) =
        first.trim_end().rsplit_once("\nrandom choices as by --seed ").unwrap();
    let again = sluice(&[&arguments[..], &["--seed", seed]].concat(), document);
    assert_eq!(again, (0, format!("{explanation}\n")));
}
