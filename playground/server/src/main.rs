//! The playground beside the sandbox: serves the page, shows and replaces the rules of the running
//! Envoy, and sends requests to it. Listens on 127.0.0.1 only.
//!
//!     sluice-playground-server CONFIGURATION PAGE FOLDER
//!
//! reads the configuration of the sandbox, and writes into FOLDER what Envoy has to be started
//! with, `envoy.json`. Prints the address of the page, with the token that its calls require.

mod api;
mod requests;
mod sandbox;
mod secret;
mod updates;

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, absolute};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

use api::Api;
use sandbox::Sandbox;
use updates::Rules;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("playground: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [configuration, page, folder] = arguments.as_slice() else {
        bail!("usage: sluice-playground-server CONFIGURATION PAGE FOLDER");
    };
    let text = fs::read_to_string(configuration).with_context(|| configuration.clone())?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    fs::create_dir_all(folder)?;
    let file = absolute(Path::new(folder).join("filter.json"))?;
    let port = listener.local_addr()?.port();
    let (token, secret) = (token()?, token()?);
    let sandbox = Sandbox::read(&text, &file.display().to_string(), port, &secret)?;
    let edge = sandbox.edge;
    let bootstrap = sandbox.bootstrap.to_string();
    let api = Arc::new(Api::new(Path::new(page), token.clone(), Rules::new(sandbox, file)?)?);
    fs::write(Path::new(folder).join("envoy.json"), bootstrap)?;
    println!("http://{edge}/#{token}");
    loop {
        let (stream, _) = listener.accept().await?;
        let api = Arc::clone(&api);
        let service = service_fn(move |request| {
            let api = Arc::clone(&api);
            async move { Ok::<_, std::convert::Infallible>(api.answer(request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            // The client has gone.
            let _ = connection.await;
        });
    }
}

/// A token that nobody can guess.
fn token() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
