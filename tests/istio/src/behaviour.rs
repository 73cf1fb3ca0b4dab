//! The part `behaviour`: the filters carry out the VirtualServices of Istio's modules, of this
//! repository and of `SLUICE_CORPUS` as istiod's own configuration does.

mod batches;
mod cases;
pub(crate) mod differences;
mod objects;
pub(crate) mod observe;
mod prepare;
mod rendered;
pub(crate) mod requests;
mod sample;
pub(crate) mod services;
mod world;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::verdicts::{module, program};
use cases::{Case, LeftOut};
use differences::{Differences, compare, compare_rendered};
use objects::{Context, case_name, complete, namespace, virtual_services};
use observe::Seen;
use prepare::prepare;
use rendered::Rendered;
use requests::Sent;
use services::{Service, Upstreams, services};
use world::{Addresses, Input, Side, World};

/// Everything that is counted.
struct Totals {
    differences: Differences,
    left_out: LeftOut,
    services: BTreeMap<Context, usize>,
    requests: BTreeMap<Context, usize>,
    statuses: BTreeMap<u16, usize>,
    copies: usize,
    rendered: usize,
}

/// Compares the behaviour in all cases and prints the differences.
///
/// # Panics
/// If one has no reason in behaviour.yaml, or a reason there has no difference.
pub async fn run() {
    let crds = module("istio.io/istio")
        .map(|folder| folder.join("manifests/charts/base/files/crd-all.gen.yaml"));
    let has_programs = program().exists() && crate::istiod::program().exists();
    let Some(crds) = crds.filter(|_| has_programs) else {
        println!("left out without Go: the behaviour of istiod's configuration");
        return;
    };
    let start = Instant::now();
    let mut left_out = LeftOut::new();
    let mut cases = cases::read(&crds, &mut left_out);
    if let Ok(part) = std::env::var("SLUICE_CASE") {
        cases.retain(|own| own.name.contains(&part));
    }
    batches::isolate(&mut cases);
    let count = cases.len();
    let mut work = Vec::new();
    for context in [Context::Gateway, Context::Sidecar] {
        let rendered = cases.iter().filter(|case| is_rendered(case, context, &mut left_out));
        let batches = batches::batches(rendered.cloned().collect());
        work.extend(batches.into_iter().map(|case| (case, context)));
    }
    work.sort_by_key(|(case, _)| case.is_alone);
    println!("{count} cases, in {} proxies", work.len());
    let totals = RefCell::new(Totals {
        differences: Differences::load(),
        left_out,
        services: BTreeMap::new(),
        requests: BTreeMap::new(),
        statuses: BTreeMap::new(),
        copies: 0,
        rendered: 0,
    });
    let next = Cell::new(0);
    let worker = async |addresses: Addresses| {
        while let Some((case, context)) = work.get(next.replace(next.get() + 1)) {
            run_case(case, *context, addresses, &totals).await;
            if next.get().is_multiple_of(20) {
                println!("{} proxies, {} s", next.get(), start.elapsed().as_secs());
            }
        }
    };
    println!("prepared in {} s", start.elapsed().as_secs());
    tokio::join!(worker(Addresses(0)), worker(Addresses(1)), worker(Addresses(2)));
    let totals = totals.into_inner();
    println!("{} s", start.elapsed().as_secs());
    for (context, count) in &totals.requests {
        println!("{context:?}: {} VirtualServices, {count} requests", totals.services[context]);
    }
    println!("statuses: {:?}", totals.statuses);
    println!("{} requests with copies or retries", totals.copies);
    println!("{} requests to rendered Envoys", totals.rendered);
    println!("\nleft out:");
    totals.left_out.iter().for_each(|(reason, count)| println!("{count:6}  {reason}"));
    let is_complete = std::env::var_os("SLUICE_CASE").is_none();
    let open = totals.differences.finish(is_complete);
    assert!(open == 0, "{open} differences have no reason, or reasons no difference");
}

/// Compares the requests of a case in a context.
async fn run_case(case: &Case, context: Context, addresses: Addresses, totals: &RefCell<Totals>) {
    let leave_out = |reason: String, count: usize| {
        if count > 0 {
            *totals.borrow_mut().left_out.entry(format!("{context:?}: {reason}")).or_default() +=
                count;
        }
    };
    let objects = prepare(case, context);
    let count = compared(&objects, case).count();
    let services = services(&objects, context);
    let ports = ports(case, &objects, &services, context);
    let (requests, rest) =
        requests::requests(&objects, &case.namespace, &services, &ports, context);
    leave_out("requests beyond the limit of a case".to_owned(), rest);
    let document = world::document(&objects, &services, &case.namespace, context);
    let document = document.unwrap_or_else(|error| panic!("{}: {error}", case.name));
    let upstreams = Upstreams::start(&services);
    let input = Input {
        objects: &objects,
        services: &services,
        upstreams: &upstreams,
        namespace: &case.namespace,
        context,
        ports: &ports,
        bind: rendered::address(addresses.0),
    };
    let world = World::start(&input, &document, addresses);
    let mut world = match world.await {
        Ok(world) => world,
        Err(error) => {
            let example = || format!("    {}\n    {error}", case.name);
            let difference = "istiod or Envoy refuses the configuration";
            let names = [difference.to_owned()];
            totals.borrow_mut().differences.add(context, &case.name, &names, example);
            return;
        }
    };
    let mut rendered = render(case, &input, &leave_out).await;
    let mut results = Vec::new();
    for (index, sent) in requests.iter().enumerate() {
        let own = rendered.as_mut().filter(|own| own.has(sent));
        results.push(send(&mut world, own, index, sent).await);
    }
    // Copies arrive later.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut arrivals = observe::arrivals(&upstreams);
    let mut totals = totals.borrow_mut();
    *totals.services.entry(context).or_default() += count;
    for (sent, result) in requests.iter().zip(results) {
        *totals.requests.entry(context).or_default() += 1;
        let show = |left: &Seen, right: &Seen| {
            let own = objects.iter().filter(|own| case_name(own) == sent.case);
            let own: Vec<_> = own.map(|own| own["spec"].to_string()).collect();
            let own = own.join("\n      ");
            format!("    {sent:?}\n      {own}\n    {left:?}\n    {right:?}")
        };
        let mut seen = BTreeMap::new();
        for (side, (id, own)) in result {
            match own {
                Ok(mut own) => {
                    own.received = arrivals.remove(&id).unwrap_or_default();
                    seen.insert(side, own);
                }
                Err(error) => {
                    let example = || format!("    {sent:?}\n    {error}");
                    let names = [format!("no response: {side:?}")];
                    totals.differences.add(context, &sent.case, &names, example);
                }
            }
        }
        let Some(native) = seen.get(&Side::Native) else { continue };
        *totals.statuses.entry(native.status).or_default() += 1;
        totals.copies += usize::from(native.received.len() > 1);
        let kind = match sent.kind {
            "" => String::new(),
            kind => format!("{kind}: "),
        };
        if let Some(filtered) = seen.get(&Side::Filtered) {
            for difference in compare(native, filtered) {
                let names = [format!("{kind}{difference}"), difference];
                let example = || show(native, filtered);
                totals.differences.add(context, &sent.case, &names, example);
            }
        }
        if let Some(rendered) = seen.get(&Side::Rendered) {
            totals.rendered += 1;
            for difference in compare_rendered(native, rendered) {
                let names = [kind.as_str(), ""].map(|kind| format!("rendered: {kind}{difference}"));
                let example = || show(native, rendered);
                totals.differences.add(context, &sent.case, &names, example);
            }
        }
    }
}

/// Starts an Envoy with what the command renders for the cases of a batch.
async fn render(
    batch: &Case,
    input: &Input<'_>,
    leave_out: &impl Fn(String, usize),
) -> Option<Rendered> {
    // Each of these would need one more proxy.
    if batch.is_alone {
        return None;
    }
    let Input { objects, context, .. } = *input;
    let names: BTreeSet<_> = compared(objects, batch).map(case_name).collect();
    let mut included = BTreeSet::new();
    let mut left_out = BTreeSet::new();
    for name in names {
        let count = compared(objects, batch).filter(|own| case_name(own) == name).count();
        match input.render(&[name].into()) {
            Ok((_, own)) => {
                included.insert(name);
                leave_out(
                    "rendered: VirtualServices with values that are left out".to_owned(),
                    own.len(),
                );
                left_out.extend(own);
            }
            Err(error) => {
                if std::env::var_os("SLUICE_SHOW").is_some() {
                    println!("{context:?}, {name}: {error}");
                }
                leave_out(
                    format!("rendered: VirtualServices of refused cases: {}", general(&error)),
                    count,
                );
            }
        }
    }
    if included.is_empty() {
        return None;
    }
    match input.start(&included).await {
        Ok(rendered) => Some(rendered),
        Err(error) => {
            println!("{context:?}, rendered batch with {}: {error}", batch.name);
            leave_out("rendered: batches that Envoy refuses".to_owned(), 1);
            None
        }
    }
}

/// What became of a request on a side, and its id at the upstreams.
type Results = BTreeMap<Side, (String, Result<Seen, String>)>;

/// Sends a request to all sides, again if one of them was slow by chance.
async fn send(
    world: &mut World,
    mut rendered: Option<&mut Rendered>,
    index: usize,
    sent: &Sent,
) -> Results {
    let mut results = Results::new();
    for attempt in 0..4 {
        for side in [Side::Native, Side::Filtered, Side::Rendered] {
            let id = format!("{index}-{side:?}-{attempt}");
            let client = match (side, &mut rendered) {
                (Side::Rendered, Some(rendered)) => rendered.client(sent.port),
                (Side::Rendered, None) => continue,
                _ => world.client(side, sent.port),
            };
            let seen = observe::see(client, sent, &id).await;
            results.insert(side, (id, seen));
        }
        let is_delayed = |(_, own): &(String, Result<Seen, String>)| {
            own.as_ref().is_ok_and(|own| own.is_delayed)
        };
        let delayed: BTreeSet<_> = results.values().map(is_delayed).collect();
        if delayed.len() == 1 {
            break;
        }
    }
    results
}

/// Returns whether the command makes a plugin document of a case that has requests.
fn is_rendered(case: &Case, context: Context, left_out: &mut LeftOut) -> bool {
    let objects = prepare(case, context);
    let count = compared(&objects, case).count();
    let services = services(&objects, context);
    if count == 0 {
        return false;
    }
    let document = world::document(&objects, &services, &case.namespace, context);
    if let Err(error) = &document {
        if std::env::var_os("SLUICE_SHOW").is_some() {
            println!("{}: {error}", case.name);
        }
        let reason =
            format!("{context:?}: VirtualServices that render refuses: {}", general(error));
        *left_out.entry(reason).or_default() += count;
    }
    document.is_ok()
}

/// The VirtualServices that requests are derived from.
fn compared<'a>(objects: &'a [Value], case: &Case) -> impl Iterator<Item = &'a Value> {
    let of = case.namespace.clone();
    let is_compared = move |own: &&Value| {
        namespace(own) == of && own["spec"]["hosts"].is_array() && cases::is_new(own)
    };
    virtual_services(objects).filter(is_compared)
}

/// The ports on which the proxy listens.
fn ports(case: &Case, objects: &[Value], services: &[Service], context: Context) -> BTreeSet<u16> {
    let mut ports = prepare::gateway_ports(objects);
    if context == Context::Gateway {
        return ports;
    }
    ports.insert(requests::SIDECAR_PORT);
    for own in virtual_services(objects) {
        for host in own["spec"]["hosts"].as_array().into_iter().flatten() {
            let host = complete(host.as_str().unwrap_or_default(), &case.namespace);
            let service = services.iter().find(|own| own.host == host);
            ports.extend(service.into_iter().flat_map(Service::http_ports));
        }
    }
    ports
}

/// An error without what is specific to its file.
fn general(error: &str) -> String {
    let text = error.rsplit_once(": ").map_or(error, |(_, reason)| reason);
    text.chars().take(100).collect()
}
