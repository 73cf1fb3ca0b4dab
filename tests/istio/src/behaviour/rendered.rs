//! An Envoy with the output of `sluice render --to envoy` for the objects of a case.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde::Deserialize as _;
use serde_json::{Value, json};
use sluice_e2e::{Client, Connection, Envoy, workspace};

use super::objects::{
    Context, PORT, case_name, complete, destinations, kind, namespace, virtual_services,
};
use super::prepare::{self};
use super::requests::Sent;
use super::services::{Service, Upstreams, name};
use super::world::Input;
use crate::mesh;
use crate::verdicts::sluice;

/// A running Envoy.
pub struct Rendered {
    _envoy: Envoy,
    clients: BTreeMap<u16, (Client, Option<Connection>)>,
    /// The cases that it has
    cases: BTreeSet<String>,
    /// The names of VirtualServices that have values which the output cannot carry out
    left_out: BTreeSet<String>,
}

impl Input<'_> {
    /// Renders the configuration of some cases. Also returns the names of the VirtualServices with
    /// values that it leaves out.
    ///
    /// # Errors
    /// The first error of the command.
    pub fn render(&self, cases: &BTreeSet<&str>) -> Result<(Value, BTreeSet<String>), String> {
        let own: Vec<_> =
            self.objects.iter().filter(|own| cases.contains(case_name(own))).cloned().collect();
        let directory = tempfile::tempdir().expect("a folder");
        let file = directory.path().join("input.yaml");
        self.write_input(&file, &own);
        let mut flags = Vec::new();
        for port in self.ports.iter().filter(|port| **port != PORT) {
            flags.push(["--port-map".to_owned(), format!("{port}={port}")]);
        }
        for endpoint in endpoints(&own, self.services, self.upstreams) {
            flags.push(["--endpoint".to_owned(), endpoint]);
        }
        let output = loop {
            let output = self.command(&own, &flags, &file).output().expect("sluice");
            let errors = String::from_utf8_lossy(&output.stderr);
            // Some rules do not apply to the proxy, and these flags are not for any other.
            let unused = errors.lines().filter_map(|line| {
                let (flag, rest) = line.strip_prefix("sluice: ")?.split_once(' ')?;
                let (value, _) = rest.split_once(": no rule has this ")?;
                let is_unused = |own: &[String; 2]| {
                    own[0] == flag && own[1].split_once('=').is_some_and(|(key, _)| key == value)
                };
                flags.iter().position(is_unused)
            });
            match unused.max() {
                Some(index) => flags.remove(index),
                None => break output,
            };
        };
        let errors = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            let folder = directory.path().display().to_string();
            let is_error = |line: &&str| line.contains(": error: ") || line.starts_with("sluice:");
            let error = errors.lines().find(is_error).unwrap_or_default();
            return Err(error.replace(&folder, ""));
        }
        let left_out = errors.lines().filter_map(|line| {
            let (_, rest) = line.split_once("left out: VirtualService ")?;
            let name = rest.split(':').next().unwrap_or_default();
            Some(name.rsplit('/').next().unwrap_or_default().to_owned())
        });
        let text = String::from_utf8_lossy(&output.stdout);
        let document = serde_yaml_ng::Deserializer::from_str(&text);
        let configuration = Value::deserialize(document).map_err(|error| error.to_string())?;
        Ok((configuration, left_out.collect()))
    }

    fn command(&self, own: &[Value], flags: &[[String; 2]], file: &Path) -> Command {
        let mut command = Command::new(sluice());
        command.args(["render", "--to", "envoy", "--allow-partial", "-n", self.namespace]);
        let listen = format!("{}:{PORT}", self.bind.ip());
        command.args(["--admin", "127.0.0.1:0", "--listen", &listen]);
        command.arg("--module-file").arg(workspace().join("dist/{filter}.wasm"));
        match self.context {
            Context::Sidecar => {
                command.args(["--gateway", "mesh"]);
            }
            Context::Gateway => {
                for (namespace, name) in prepare::gateways(own) {
                    command.args(["--gateway", &format!("{namespace}/{name}")]);
                }
            }
        }
        flags.iter().for_each(|flag| _ = command.args(flag));
        command.arg(file);
        command
    }

    /// Starts an Envoy with some cases.
    ///
    /// # Errors
    /// What the command or Envoy refuses.
    pub async fn start(&self, cases: &BTreeSet<&str>) -> Result<Rendered, String> {
        let (configuration, left_out) = self.render(cases)?;
        let envoy = Envoy::try_of_configuration(&configuration).await.map_err(|failure| {
            let lines: Vec<_> = failure.log.lines().collect();
            lines[lines.len().saturating_sub(3)..].join("\n")
        })?;
        let listeners = listeners(&configuration);
        let client = |port: &u16| {
            // The second is the listener for all ports that no rule has.
            let own = [*port, PORT].into_iter().find(|own| listeners.contains(own))?;
            Some((*port, (Client::new(SocketAddr::new(self.bind.ip(), own)), None)))
        };
        let clients = self.ports.iter().filter_map(client).collect();
        let cases = cases.iter().map(|own| (*own).to_owned()).collect();
        Ok(Rendered { _envoy: envoy, clients, cases, left_out })
    }

    /// Writes the objects, with endpoints in the ServiceEntries.
    fn write_input(&self, file: &Path, own: &[Value]) {
        let texts = own.iter().filter(|own| kind(own) != "ServiceEntry").map(Value::to_string);
        let mut texts: Vec<_> = texts.collect();
        let wanted: BTreeSet<_> = virtual_services(own)
            .flat_map(|own| {
                let hosts = destinations(own).into_iter().filter_map(|own| own["host"].as_str());
                hosts.map(|host| complete(host, namespace(own))).collect::<Vec<_>>()
            })
            .collect();
        let services = self.services.iter().enumerate();
        for (index, service) in services.filter(|(_, own)| wanted.contains(&own.host)) {
            match service.is_of_kubernetes() {
                true => texts.extend(service.object().map(|own| own.to_string())),
                false => texts.push(service.entry(index, self.upstreams)),
            }
        }
        std::fs::write(file, texts.join("\n---\n")).expect("a file");
    }
}

impl Rendered {
    /// Returns whether it has the port of a request and all of the VirtualService that it is for.
    pub fn has(&self, sent: &Sent) -> bool {
        let has_rules = self.cases.contains(&sent.case) && !self.left_out.contains(&sent.service);
        has_rules && self.clients.contains_key(&sent.port)
    }

    /// The client of a port, with its connection if there is one.
    pub fn client(&mut self, port: u16) -> &mut (Client, Option<Connection>) {
        self.clients.get_mut(&port).expect("a port")
    }
}

fn listeners(configuration: &Value) -> BTreeSet<u16> {
    let listeners = configuration["static_resources"]["listeners"].as_array();
    let port = |own: &Value| own["address"]["socket_address"]["port_value"].as_u64();
    let ports = listeners.into_iter().flatten().filter_map(port);
    ports.filter_map(|port| port.try_into().ok()).collect()
}

/// The endpoints of the destinations that are Services, as arguments.
fn endpoints(objects: &[Value], services: &[Service], upstreams: &Upstreams) -> BTreeSet<String> {
    let mut endpoints = BTreeSet::new();
    for own in virtual_services(objects) {
        for destination in destinations(own) {
            let host = destination["host"].as_str().unwrap_or_default();
            let host = complete(host, namespace(own));
            let service = services.iter().find(|own| own.host == host && own.is_of_kubernetes());
            let Some(service) = service else { continue };
            let subset = destination["subset"].as_str();
            let labels = match subset {
                Some(subset) => labels_of(objects, &host, subset),
                None => service.labels.first().cloned(),
            };
            let (Some(labels), Some((port, _))) = (labels, service.ports.first()) else { continue };
            let Some(upstream) = upstreams.0.get(&name(&host, &labels, *port)) else { continue };
            let subset = subset.map(|subset| format!("/{subset}")).unwrap_or_default();
            endpoints.insert(format!("{host}{subset}={}", upstream.address()));
        }
    }
    endpoints
}

/// The labels of a subset.
fn labels_of(objects: &[Value], host: &str, subset: &str) -> Option<Value> {
    let rules = objects.iter().filter(|own| kind(own) == "DestinationRule");
    let mut rules = rules.filter(|own| {
        complete(own["spec"]["host"].as_str().unwrap_or_default(), namespace(own)) == host
    });
    rules.find_map(|own| {
        let subsets = own["spec"]["subsets"].as_array()?;
        let found = subsets.iter().find(|own| own["name"] == subset)?;
        Some(found.get("labels").cloned().unwrap_or_else(|| json!({})))
    })
}

/// The address of the rendered Envoys of a worker.
pub fn address(worker: u8) -> SocketAddr {
    mesh::address(60 + worker, PORT)
}
