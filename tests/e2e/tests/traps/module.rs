//! The shipped modules with a trap. A request chooses the callback that traps by the number of its
//! headers, so the filter itself does its ordinary work until then.

use std::path::{Path, PathBuf};

use sluice_e2e::Request;
use walrus::ir::{BinaryOp, Value};
use walrus::{
    ConstExpr, ExportItem, FunctionBuilder, FunctionId, GlobalId, InstrSeqBuilder, LocalId, Module,
    ValType,
};

/// A request with at least this number of headers, and fewer than twice of it, names the first
/// place; the next multiple names the next place. Other requests have fewer headers.
const HEADERS: i32 = 20;
/// A configuration of this size traps.
pub const TRAPPING_CONFIGURATION: i32 = 65_536;

/// A callback that traps.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Place {
    RequestHeaders = 1,
    RequestBody,
    ResponseHeaders,
    ResponseBody,
    Tick,
    End,
    NewConnection,
}

impl Place {
    pub const ALL: [Self; 7] = [
        Self::RequestHeaders,
        Self::RequestBody,
        Self::ResponseHeaders,
        Self::ResponseBody,
        Self::Tick,
        Self::End,
        Self::NewConnection,
    ];

    /// Its name in the tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::RequestHeaders => "request headers",
            Self::RequestBody => "request body",
            Self::ResponseHeaders => "response headers",
            Self::ResponseBody => "response body",
            Self::Tick => "timer",
            Self::End => "end of the request",
            Self::NewConnection => "new connection",
        }
    }

    fn callback(self) -> &'static str {
        match self {
            Self::RequestHeaders => "proxy_on_request_headers",
            Self::RequestBody => "proxy_on_request_body",
            Self::ResponseHeaders => "proxy_on_response_headers",
            Self::ResponseBody => "proxy_on_response_body",
            Self::Tick => "proxy_on_tick",
            Self::End => "proxy_on_delete",
            Self::NewConnection => "proxy_on_new_connection",
        }
    }

    /// Adds the headers that name this place.
    pub fn chosen_by(self, request: Request) -> Request {
        let count = HEADERS * self as i32 + 2;
        (0..count).fold(request, |request, number| request.header(&format!("x-{number}"), "1"))
    }
}

/// A module with traps.
pub struct Trapping {
    pub filter: &'static str,
    pub file: PathBuf,
    /// The callbacks that Envoy calls in this module.
    pub places: Vec<Place>,
}

impl Trapping {
    /// Writes `dist/FILTER.wasm` with traps to a folder.
    pub fn write(filter: &'static str, folder: &Path) -> Self {
        let mut module = Module::from_file(sluice_e2e::module(filter)).unwrap();
        let none = ConstExpr::Value(Value::I32(0));
        let chosen = module.globals.add_local(ValType::I32, true, false, none);
        let places: Vec<_> = Place::ALL
            .into_iter()
            .filter(|place| module.exports.get_func(place.callback()).is_ok())
            .collect();
        for place in &places {
            wrap(&mut module, place.callback(), |body, arguments| {
                if *place == Place::RequestHeaders {
                    choose(body, arguments[1], chosen);
                }
                body.global_get(chosen).i32_const(*place as i32).binop(BinaryOp::I32Eq);
                trap_if(body);
            });
        }
        wrap(&mut module, "proxy_on_configure", |body, arguments| {
            body.local_get(arguments[1]).i32_const(TRAPPING_CONFIGURATION);
            body.binop(BinaryOp::I32GeU);
            trap_if(body);
        });
        let file = folder.join(format!("{filter}.wasm"));
        module.emit_wasm_file(&file).unwrap();
        Self { filter, file, places }
    }
}

/// Stores the place that a number of headers names, if it names one.
fn choose(body: &mut InstrSeqBuilder, count: LocalId, chosen: GlobalId) {
    body.local_get(count).i32_const(HEADERS).binop(BinaryOp::I32GeU);
    body.if_else(
        None,
        |then| {
            then.local_get(count).i32_const(HEADERS).binop(BinaryOp::I32DivU).global_set(chosen);
        },
        |_| {},
    );
}

fn trap_if(body: &mut InstrSeqBuilder) {
    body.if_else(
        None,
        |then| {
            then.unreachable();
        },
        |_| {},
    );
}

/// Makes a callback run these instructions first, which get its arguments.
fn wrap(module: &mut Module, callback: &str, first: impl FnOnce(&mut InstrSeqBuilder, &[LocalId])) {
    let own: FunctionId = module.exports.get_func(callback).unwrap();
    let kind = module.types.get(module.funcs.get(own).ty());
    let (parameters, results) = (kind.params().to_vec(), kind.results().to_vec());
    let arguments: Vec<_> = parameters.iter().map(|kind| module.locals.add(*kind)).collect();
    let mut function = FunctionBuilder::new(&mut module.types, &parameters, &results);
    let mut body = function.func_body();
    first(&mut body, &arguments);
    for argument in &arguments {
        body.local_get(*argument);
    }
    body.call(own);
    let wrapper = function.finish(arguments, &mut module.funcs);
    let export = module.exports.iter_mut().find(|export| export.name == callback);
    export.expect("the callback").item = ExportItem::Function(wrapper);
}
