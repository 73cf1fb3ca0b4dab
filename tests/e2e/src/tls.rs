//! TLS clients, with the certificates of `dist/certificates`.

use std::io;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::files;

/// Settings of a TLS client. It trusts the CA of the tests.
#[derive(Clone, Debug)]
pub struct Tls {
    versions: Vec<&'static SupportedProtocolVersion>,
    identity: Option<&'static str>,
    server: Option<&'static str>,
    sends_name: bool,
    protocols: Vec<Vec<u8>>,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            versions: rustls::ALL_VERSIONS.to_vec(),
            identity: None,
            server: None,
            sends_name: true,
            protocols: Vec::new(),
        }
    }
}

impl Tls {
    /// Uses only this version.
    pub fn only(self, version: &'static SupportedProtocolVersion) -> Self {
        Self { versions: vec![version], ..self }
    }

    /// Sends the client certificate of this name.
    pub fn identity(self, name: &'static str) -> Self {
        Self { identity: Some(name), ..self }
    }

    /// Requires a server certificate of this name, independent of the server name that is sent.
    pub fn server(self, name: &'static str) -> Self {
        Self { server: Some(name), ..self }
    }

    /// Sends no server name.
    pub fn without_sni(self) -> Self {
        Self { sends_name: false, ..self }
    }

    /// Offers this protocol (ALPN).
    pub fn protocol(self, protocol: &str) -> Self {
        Self { protocols: vec![protocol.as_bytes().to_vec()], ..self }
    }

    /// Starts TLS on a stream, with the server name `name`.
    pub async fn connect<S>(&self, stream: S, name: &str) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(name.to_owned()).expect("a server name");
        TlsConnector::from(Arc::new(self.config())).connect(name, stream).await
    }

    fn config(&self) -> ClientConfig {
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(certificate("ca")).unwrap();
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let verifier = Verifier { inner: inner.build().unwrap(), name: self.server };
        let config = ClientConfig::builder_with_provider(Arc::<CryptoProvider>::clone(&provider))
            .with_protocol_versions(&self.versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match self.identity {
            None => config.with_no_client_auth(),
            Some(name) => {
                let key = files::certificate(&format!("{name}.key"));
                let key = PrivateKeyDer::from_pem_file(key).unwrap();
                config.with_client_auth_cert(vec![certificate(name)], key).unwrap()
            }
        };
        config.enable_sni = self.sends_name;
        config.alpn_protocols.clone_from(&self.protocols);
        config
    }
}

fn certificate(name: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(files::certificate(&format!("{name}.pem"))).unwrap()
}

/// Verifies as usual, optionally with another name than the requested one.
#[derive(Debug)]
struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
    name: Option<&'static str>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        asked: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let own = self.name.map(|name| ServerName::try_from(name).expect("a server name"));
        let name = own.as_ref().unwrap_or(asked);
        self.inner.verify_server_cert(end_entity, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Sends `GET /` for `host` with HTTP/1.1 and returns the status and the body.
pub async fn get<S>(mut stream: S, host: &str) -> io::Result<(u16, String)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    // Some servers close without a TLS close_notify after the response.
    let end = stream.read_to_end(&mut answer).await;
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.get(9..12).and_then(|status| status.parse().ok());
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    match status {
        Some(status) => Ok((status, body.to_owned())),
        None => Err(end.err().unwrap_or_else(|| io::Error::other("no answer"))),
    }
}
