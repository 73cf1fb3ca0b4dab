//! `trafficPolicy.tls`: TLS to the hosts of a cluster (`constructUpstreamTLS` of istiod).

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::fields::Surroundings;
use crate::render::left_out::LeftOut;
use crate::render::part::Part;

/// TLS of a cluster.
pub struct TlsContext {
    /// `transport_socket`
    pub socket: Value,
    /// `upstream_http_protocol_options` of `HttpProtocolOptions`
    pub upstream_http: Map<String, Value>,
}

/// TLS with these settings; `None` without TLS.
pub fn context(
    tls: &Part<'_>,
    around: Surroundings<'_>,
    is_http2: bool,
    left_out: &mut LeftOut,
) -> Option<TlsContext> {
    let mode = tls.text("mode").unwrap_or("DISABLE");
    match mode {
        "SIMPLE" | "MUTUAL" => {}
        "ISTIO_MUTUAL" => {
            let reason = "needs the certificates of Istio's agent, so the cluster has no TLS";
            left_out.add(&tls.path, reason);
            return None;
        }
        _ => return None,
    }
    if let Some(credential) = tls.field("credentialName") {
        let reason = "names a secret of Kubernetes, so the cluster has no TLS; write the files as \
                      caCertificates, clientCertificate and privateKey";
        left_out.add(&credential.path, reason);
        return None;
    }
    let mut names = tls.texts("subjectAltNames");
    if names.is_empty() {
        names = around.subject_alt_names.iter().map(String::as_str).collect();
    }
    let skips = tls.flag("insecureSkipVerify");
    let mut common = json!({
        "tls_params": {
            "tls_minimum_protocol_version": "TLSv1_2",
            "tls_maximum_protocol_version": "TLSv1_3",
        },
    });
    if skips {
        common["validation_context"] = json!({});
    } else {
        let file = tls.text("caCertificates").unwrap_or(around.system_authorities);
        let mut validation = json!({ "trusted_ca": { "filename": file } });
        if !names.is_empty() {
            let names: Vec<_> = names.iter().map(|name| matcher(name)).collect();
            validation["match_typed_subject_alt_names"] = names.into();
        }
        if let Some(file) = tls.text("caCrl") {
            validation["crl"] = json!({ "filename": file });
        }
        common["validation_context"] = validation;
    }
    if mode == "MUTUAL" {
        let file = |name| json!({ "filename": tls.text(name).unwrap_or_default() });
        common["tls_certificates"] = json!([{
            "certificate_chain": file("clientCertificate"),
            "private_key": file("privateKey"),
        }]);
    }
    if is_http2 {
        common["alpn_protocols"] = json!(["h2"]);
    }
    let mut config = json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": common,
    });
    let mut upstream_http = Map::new();
    match tls.text("sni") {
        Some(sni) => config["sni"] = sni.into(),
        // The server name is the host of the request, which the certificate must have.
        None => {
            upstream_http.insert("auto_sni".to_owned(), true.into());
            if names.is_empty() && !skips {
                upstream_http.insert("auto_san_validation".to_owned(), true.into());
            }
        }
    }
    let socket = json!({ "name": "envoy.transport_sockets.tls", "typed_config": config });
    Some(TlsContext { socket, upstream_http })
}

/// The matcher of a name in a certificate.
fn matcher(name: &str) -> Value {
    let kind = match () {
        () if name.contains("://") => "URI",
        () if name.parse::<IpAddr>().is_ok() => "IP_ADDRESS",
        () if name.contains('@') => "EMAIL",
        () => "DNS",
    };
    json!({ "san_type": kind, "matcher": { "exact": name } })
}
