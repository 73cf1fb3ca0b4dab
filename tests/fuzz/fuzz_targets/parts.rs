//! Parts of a request: path, query parameters, cookies and repeated headers of any bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sluice_policy::request::{Attributes, Request};

/// No attributes.
struct Nothing;

impl Attributes for Nothing {
    fn destination_port(&self) -> Option<u16> {
        None
    }

    fn source_address(&self) -> Option<Vec<u8>> {
        None
    }

    fn claim(&self, _: &[String]) -> Vec<Vec<u8>> {
        Vec::new()
    }
}

/// The target of the request, lines of cookies, values of one header, and the name of a cookie.
type Input = (Vec<u8>, Vec<Vec<u8>>, Vec<Vec<u8>>, String);

fuzz_target!(|input: Input| {
    let (target, cookies, values, name) = input;
    let mut headers = vec![(":path".to_owned(), target.clone())];
    headers.extend(cookies.iter().map(|line| ("cookie".to_owned(), line.clone())));
    headers.extend(values.iter().map(|value| ("x".to_owned(), value.clone())));
    let request = Request::new(&headers, &Nothing);

    let path = request.path();
    assert!(target.starts_with(path));
    let rest = &target[path.len()..];
    assert!(!path.iter().any(|byte| b"?#".contains(byte)));
    assert!(rest.is_empty() || b"?#".contains(&rest[0]));

    let query = rest.strip_prefix(b"?").map(|query| {
        let end = query.iter().position(|byte| *byte == b'#');
        &query[..end.unwrap_or(query.len())]
    });
    let written: Vec<_> = request
        .query_parameters()
        .map(|(name, value)| (name.to_vec(), [name, b"=", value].concat()))
        .collect();
    let pieces: Vec<_> =
        query.into_iter().flat_map(|query| query.split(|byte| *byte == b'&')).collect();
    assert_eq!(written.len(), pieces.len());
    for ((name, whole), piece) in written.iter().zip(pieces) {
        assert!(piece == whole || piece == name);
        assert!(request.query_parameter(name).is_some());
    }

    if let Some(value) = request.cookie(&name) {
        let forms = [format!("{name}=").as_bytes(), &value].concat();
        let quoted = [format!("{name}=\"").as_bytes(), &value, b"\""].concat();
        let has = |line: &Vec<u8>| {
            [&forms, &quoted].iter().any(|form| line.windows(form.len()).any(|part| part == **form))
        };
        assert!(cookies.iter().any(has));
    }
    let joined = request.header("x").map(|value| value.into_owned());
    assert_eq!(joined, (!values.is_empty()).then(|| values.join(&b',')));
});
