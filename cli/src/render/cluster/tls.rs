//! `trafficPolicy.tls`: TLS to the hosts of a cluster (`constructUpstreamTLS` of istiod).

use std::net::IpAddr;

use serde_json::{Value, json};

use super::surroundings::Surroundings;
use crate::render::left_out::LeftOut;
use crate::render::object::Object;
use crate::render::part::Part;

/// TLS of a cluster.
pub struct TlsContext {
    /// `transport_socket`
    pub socket: Value,
    /// `upstream_http_protocol_options` of `HttpProtocolOptions`
    pub upstream_http: Object,
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
    let mut common = Object::new(json!({
        "tls_params": {
            "tls_minimum_protocol_version": "TLSv1_2",
            "tls_maximum_protocol_version": "TLSv1_3",
        },
    }));
    let mut validation = Object::default();
    if !skips {
        let file = tls.text("caCertificates").unwrap_or(around.system_authorities);
        validation.set("trusted_ca", json!({ "filename": file }));
        if !names.is_empty() {
            let names: Vec<_> = names.iter().map(|name| matcher(name)).collect();
            validation.set("match_typed_subject_alt_names", names);
        }
        validation.set_some("crl", tls.text("caCrl").map(|file| json!({ "filename": file })));
    }
    common.set("validation_context", validation);
    if mode == "MUTUAL" {
        let file = |name| json!({ "filename": tls.text(name).unwrap_or_default() });
        let own = json!([{
            "certificate_chain": file("clientCertificate"),
            "private_key": file("privateKey"),
        }]);
        common.set("tls_certificates", own);
    }
    if is_http2 {
        common.set("alpn_protocols", json!(["h2"]));
    }
    let mut config = Object::new(json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
    }));
    config.set("common_tls_context", common);
    let sni = tls.text("sni");
    config.set_some("sni", sni);
    let mut upstream_http = Object::default();
    if sni.is_none() {
        // The server name is the host of the request, which the certificate must have.
        upstream_http.set("auto_sni", true);
        if names.is_empty() && !skips {
            upstream_http.set("auto_san_validation", true);
        }
    }
    let config = Value::from(config);
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
