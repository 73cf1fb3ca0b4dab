//! One scenario for people to try.

use std::any::Any;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use sluice_e2e::{Scenario, workspace};
use tokio::process::Command;
use tokio::time::timeout;

use crate::folder::{Folder, SCENARIOS};
use crate::programs::Programs;

/// Maximum duration of a command.
const PATIENCE: Duration = Duration::from_secs(120);

/// Starts the programs of a scenario, prints commands to try, and ends the programs at Ctrl-C.
pub async fn run(name: &str) -> Result<(), String> {
    std::panic::set_hook(Box::new(|panic| eprintln!("scenarios: {}", message(panic.payload()))));
    let folder = Folder::all(&[name])?.remove(0);
    let scenario = Scenario::at("127.0.0.1");
    let written = folder.written_path();
    let _ = fs::remove_dir_all(&written);
    fs::create_dir_all(&written).map_err(|error| format!("{}: {error}", folder.written()))?;
    let scenario = scenario.with_folder(&folder.written(), &written);
    prepare(&folder, &scenario, &written).await?;
    let start = async { Programs::start(&folder, &scenario, &written, None).await };
    let stop = async {
        let mut terminate =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
                .map_err(|error| error.to_string())?;
        tokio::select! {
            result = tokio::signal::ctrl_c() => result.map_err(|error| error.to_string()),
            _ = terminate.recv() => Ok(()),
        }
    };
    tokio::pin!(stop);
    let _programs = tokio::select! {
        programs = start => programs,
        result = &mut stop => return result,
    };
    println!("{}: {}. From the root of the repository, try:\n", folder.id, folder.title);
    for step in &folder.steps {
        println!("  {}", step.command.replace('\n', "\n  "));
        for line in step.output.lines() {
            println!("    {line}");
        }
    }
    println!("\n{SCENARIOS}/{name}/README.md explains it. Logs are in {}.", folder.written());
    println!("Ctrl-C ends it.");
    stop.await
}

/// Returns the message of a panic.
pub fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("panicked")
}

/// Writes the files and runs the commands that precede the programs.
pub async fn prepare(folder: &Folder, scenario: &Scenario, written: &Path) -> Result<(), String> {
    for file in &folder.files {
        fs::write(written.join(file), scenario.text(&folder.file(file)))
            .map_err(|error| format!("{}/{file}: {error}", folder.written()))?;
    }
    for command in &folder.prepare {
        let (output, ok) = bash(&scenario.own(command), written).await?;
        if !ok {
            return Err(format!("{}: the preparation {command} failed:\n{output}", folder.name));
        }
    }
    Ok(())
}

/// Runs a command in the root of the repository and returns its output and whether it succeeded.
pub async fn bash(command: &str, written: &Path) -> Result<(String, bool), String> {
    bash_in(workspace(), command, written).await
}

/// Runs a command in a folder and returns its output and whether it succeeded. `home` gets the
/// settings of curl.
pub async fn bash_in(folder: &Path, command: &str, home: &Path) -> Result<(String, bool), String> {
    // Disables curl's progress meter, which would mix with the response on a terminal.
    fs::write(home.join(".curlrc"), "no-progress-meter\n").map_err(|error| error.to_string())?;
    let output = tempfile::tempfile().map_err(|error| error.to_string())?;
    let copy = || output.try_clone().map_err(|error| error.to_string());
    let mut child = Command::new("bash");
    child.args(["-c", command]).current_dir(folder).env("CURL_HOME", home);
    child.env("LC_ALL", "C.UTF-8");
    for proxy in ["http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        child.env_remove(proxy);
    }
    child.stdin(Stdio::null()).stdout(copy()?).stderr(copy()?).kill_on_drop(true);
    let mut child = child.spawn().map_err(|error| format!("bash: {error}"))?;
    let status = timeout(PATIENCE, child.wait()).await;
    let status = status.map_err(|_| format!("took more than {PATIENCE:?}: {command}"))?;
    let status = status.map_err(|error| format!("bash: {error}"))?;
    let mut output = output;
    std::io::Seek::rewind(&mut output).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut output, &mut bytes).map_err(|error| error.to_string())?;
    // Lines of headers end with a carriage return.
    Ok((String::from_utf8_lossy(&bytes).replace("\r\n", "\n"), status.success()))
}
