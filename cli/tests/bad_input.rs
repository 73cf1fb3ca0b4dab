//! Files that are too large for the repository, or that tools would change: each is rejected with a
//! reason, without a crash. Small files are in `tests/golden`.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::Write as _;
use std::process::{Command, Stdio};

/// The exit status and the output of the command. It may exit before it has read its input.
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
    // The command does not read all of an input that is too long.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (output.status.code().unwrap(), out + &err)
}

/// Asserts that every command rejects a text with one error, the same for all.
fn assert_rejected(text: &[u8], error: &str) {
    let (status, printed) = sluice(&["check", "-"], text);
    let shown = String::from_utf8_lossy(text.get(..100).unwrap_or(text)).into_owned();
    assert_eq!(printed, format!("{error}\n1 file, 1 error, 0 warnings\n"), "{shown}");
    assert_eq!(status, 1, "{shown}");
    for command in [&["render", "-"][..], &["explain", "-", "--request", "/"]] {
        assert_eq!(sluice(command, text), (1, format!("{error}\n")), "{command:?} {shown}");
    }
}

#[test]
fn deep_nesting_is_rejected() {
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
        (
            "? ".repeat(levels),
            "-:1: error: a key must be a string, not a list or an object".to_owned(),
        ),
    ] {
        assert_rejected(text.as_bytes(), &error);
    }
}

#[test]
fn large_aliases_are_rejected() {
    let laughs: String = (1..20)
        .map(|level| {
            format!("a{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 9].join(","))
        })
        .collect();
    let laughs = format!("a0: &a0 [lol]\n{laughs}");
    let error = "-:7: error: has anchors and aliases of more than 67108864 bytes in total";
    assert_rejected(laughs.as_bytes(), error);
    let long = "x".repeat(1_000_000);
    let repeated = format!("a: &a {long}\nb:\n{}", "- *a\n".repeat(100));
    assert_rejected(
        repeated.as_bytes(),
        "-:69: error: has anchors and aliases of more than 67108864 bytes in total",
    );
}

#[test]
fn long_files_are_rejected() {
    let error = "-: error: is longer than 33554432 bytes; split it";
    assert_rejected(&b"# nothing\n".repeat(10_000_000), error);
    if cfg!(target_os = "linux") {
        let (status, printed) = sluice(&["check", "/dev/zero"], b"");
        assert_eq!(
            printed,
            "/dev/zero: error: is longer than 33554432 bytes; split it\n1 file, 1 error, 0 warnings\n"
        );
        assert_eq!(status, 1);
    }
    // The longest file that is read.
    assert_rejected(&b"#".repeat(32 << 20), "-: error: has no document");
}

/// Line breaks of all systems are recognized, with the same findings in the same lines.
#[test]
fn all_line_breaks_count() {
    let text = "clusterName: 7\nvirtualServices:\n- hosts: [a.com]\n  # none\n  http: {}\n";
    let found = sluice(&["check", "-"], text.as_bytes());
    let expected = "-:1: error: clusterName: 7 is not a string\n\
                    -:5: error: virtualServices[0].http: {} is not a list\n\
                    1 file, 2 errors, 0 warnings\n";
    assert_eq!(found, (1, expected.to_owned()));
    for other in [text.replace('\n', "\r\n"), text.replace('\n', "\r"), format!("\u{feff}{text}")] {
        assert_eq!(sluice(&["check", "-"], other.as_bytes()), found, "{other:?}");
    }
    let right = "\u{feff}virtualServices:\r\n- hosts: [a.com]\r\n  http:\r\n  \
                 - directResponse: {status: 200}\r\n";
    let nothing = (0, "1 file, 0 errors, 0 warnings\n".to_owned());
    assert_eq!(sluice(&["check", "-"], right.as_bytes()), nothing);
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_rejected(
        &[&b"\xff\xfe"[..], &utf16].concat(),
        "-:1: error: is not UTF-8 text; save it as UTF-8",
    );
}

/// The exit status is 0, 1 for errors in files, or 2 for wrong arguments.
#[test]
fn outcomes_have_their_exit_status() {
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

/// The seed that is printed repeats a random choice.
#[test]
fn the_printed_seed_repeats_the_choice() {
    let document =
        b"clusterName: '{host}'\nvirtualServices:\n- hosts: [a.com]\n  http:\n  - route:\n    \
        - {destination: {host: b}, weight: 50}\n    - {destination: {host: c}, weight: 50}\n";
    let arguments = ["explain", "-", "--request", "/"];
    let (status, first) = sluice(&arguments, document);
    assert_eq!(status, 0, "{first}");
    let (explanation, seed) =
        first.trim_end().rsplit_once("\nrepeat these random choices with --seed ").unwrap();
    let again = sluice(&[&arguments[..], &["--seed", seed]].concat(), document);
    assert_eq!(again, (0, format!("{explanation}\n")));
}
