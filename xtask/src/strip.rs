//! Takes out of a module what Envoy would never need.
//!
//! The SDK exports every callback of the ABI, and Envoy calls each exported one on each stream,
//! also where the filter does nothing in it. Every such call enters the VM, so what a filter does
//! not implement must not be exported.

use std::collections::HashSet;

use anyhow::{Result, bail};
use walrus::ir::{CallIndirect, Visitor, dfs_in_order};
use walrus::{
    ElementItems, ExportItem, FunctionBuilder, FunctionId, FunctionKind, Module, ModuleConfig,
    TypeId, ValType,
};

/// Called `proxy_on_` like the callbacks, but it is the allocator through which the host writes.
const ALLOCATOR: &str = "proxy_on_memory_allocate";

/// What an own callback is called that is to take the place of the SDK's `proxy_on_`.
const OWN: &str = "sluice_on_";

/// Removes the callbacks that are not in `keep` and the code that only they used.
///
/// All other exports stay. A callback `sluice_on_NAME` in `keep` becomes `proxy_on_NAME`; it can do
/// what the SDK's cannot. It is an error if the module does not export one of `keep`.
pub fn strip(wasm: &[u8], keep: &[String]) -> Result<Vec<u8>> {
    let mut config = ModuleConfig::new();
    config.generate_producers_section(false);
    let mut module = config.parse(wasm)?;
    remove_callbacks(&mut module, keep)?;
    walrus::passes::gc::run(&mut module);
    remove_dead_code(&mut module);
    demangle_names(&mut module);
    Ok(module.emit_wasm())
}

fn remove_callbacks(module: &mut Module, keep: &[String]) -> Result<()> {
    let mut missing: Vec<&str> = keep.iter().map(String::as_str).collect();
    let mut unused = Vec::new();
    for export in module.exports.iter() {
        if !matches!(export.item, ExportItem::Function(_)) {
            continue;
        }
        missing.retain(|name| *name != export.name);
        let is_callback = export.name.starts_with("proxy_on_") && export.name != ALLOCATOR;
        let is_callback = is_callback || export.name.starts_with(OWN);
        if is_callback && !keep.contains(&export.name) {
            unused.push(export.id());
        }
    }
    if !missing.is_empty() {
        bail!("does not export {}", missing.join(", "));
    }
    unused.into_iter().for_each(|export| module.exports.delete(export));
    for export in module.exports.iter_mut() {
        if let Some(name) = export.name.strip_prefix(OWN) {
            export.name = format!("proxy_on_{name}");
        }
    }
    Ok(())
}

/// Removes the functions that nothing can call.
///
/// One whose address is in the table can be called only by an indirect call of its very type. The
/// SDK's traits have many methods for which there is no such call once the callbacks are gone:
/// methods for gRPC, queues and trailers, and the imports that only they use.
///
/// Size of each module in bytes without and with this step, measured at version 0.1.0:
///
/// | module | without | with | saved |
/// |---|---:|---:|---:|
/// | egress | 680,167 | 669,392 | 1.58 % |
/// | fault | 708,536 | 697,858 | 1.51 % |
/// | mirror | 719,722 | 709,800 | 1.38 % |
/// | outlier | 729,983 | 719,358 | 1.46 % |
/// | router | 691,269 | 681,174 | 1.46 % |
/// | sni | 704,007 | 693,399 | 1.51 % |
fn remove_dead_code(module: &mut Module) {
    // In their places in the table the others would have other addresses. A call of this one traps,
    // as one of a wrong type does.
    let mut builder = FunctionBuilder::new(&mut module.types, &[], &[]);
    builder.func_body().unreachable();
    let trap = builder.finish(Vec::new(), &mut module.funcs);
    loop {
        let is_changed = remove_uncallable(module, trap);
        walrus::passes::gc::run(module);
        // After the last change nothing is left that points to a trap that is gone.
        if !is_changed || module.funcs.iter().all(|function| function.id() != trap) {
            return;
        }
    }
}

/// Puts `trap` into the table for functions that no indirect call in the module has the type of;
/// whether there were any.
fn remove_uncallable(module: &mut Module, trap: FunctionId) -> bool {
    let mut called = Called::default();
    for (_, function) in module.funcs.iter_local() {
        dfs_in_order(&mut called, function, function.entry_block());
    }
    let signature = |id: TypeId| {
        let kind = module.types.get(id);
        (kind.params().to_vec(), kind.results().to_vec())
    };
    let called: HashSet<Signature> = called.0.into_iter().map(signature).collect();
    let uncallable: HashSet<FunctionId> = module
        .funcs
        .iter()
        .filter(|function| function.id() != trap && !called.contains(&signature(function.ty())))
        .map(|function| function.id())
        .collect();
    let mut is_changed = false;
    for element in module.elements.iter_mut() {
        let ElementItems::Functions(functions) = &mut element.items else { continue };
        for function in functions.iter_mut().filter(|function| uncallable.contains(function)) {
            *function = trap;
            is_changed = true;
        }
    }
    is_changed
}

/// The types of a function's parameters and of its results.
type Signature = (Vec<ValType>, Vec<ValType>);

/// The types of the indirect calls in a module.
#[derive(Default)]
struct Called(HashSet<TypeId>);

impl<'a> Visitor<'a> for Called {
    fn visit_call_indirect(&mut self, call: &CallIndirect) {
        self.0.insert(call.ty);
    }
}

/// Keeps the names of our own functions and of the SDK's, in the form that people read: Envoy
/// prints them in the backtrace of a trap, where numbers alone would not say which code failed. The
/// host does not look at them otherwise, and they are the one large thing left to take out.
///
/// The standard library and the others go without, and so do drop glue, `Debug` and imports: there
/// are many of them, and where a fault shows in one, it is the function of ours that called it that
/// says what went wrong.
fn demangle_names(module: &mut Module) {
    const CRATES: [&str; 2] = ["proxy_wasm::", "sluice_"];
    for function in module.funcs.iter_mut() {
        let is_local = matches!(function.kind, FunctionKind::Local(_));
        function.name = function.name.take().filter(|_| is_local).and_then(|name| {
            let name = format!("{:#}", rustc_demangle::demangle(&name));
            // What has no path is an export, or the language's own.
            let is_known = !name.contains("::") || CRATES.iter().any(|part| name.contains(part));
            let is_glue =
                name.starts_with("core::ptr::drop") || name.contains("as core::fmt::Debug>");
            (is_known && !is_glue).then_some(name)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULE: &str = r#"
        (module
          (import "env" "proxy_log" (func $log))
          (import "env" "proxy_done" (func $done))
          (memory (export "memory") 1)
          (func (export "_initialize"))
          (func (export "proxy_abi_version_0_2_1"))
          (func (export "proxy_on_memory_allocate"))
          (func $helper call $done)
          (func $configure (export "proxy_on_configure") call $log)
          (func $tick (export "proxy_on_tick") call $helper)
          (func $own (export "sluice_on_tick") call $tick)
          (func $_ZN4core3ptr13drop_in_place17h0123456789abcdefE)
          (func $_ZN13sluice_router5route17h0123456789abcdefE (export "proxy_on_request_headers")
            call $_ZN4core3ptr13drop_in_place17h0123456789abcdefE))
    "#;

    fn stripped(keep: &[&str]) -> Result<Module> {
        let keep: Vec<String> = keep.iter().map(|&name| name.to_owned()).collect();
        Module::from_buffer(&strip(&wat::parse_str(MODULE)?, &keep)?)
    }

    fn exports(module: &Module) -> Vec<&str> {
        let mut names: Vec<&str> =
            module.exports.iter().map(|export| export.name.as_str()).collect();
        names.sort_unstable();
        names
    }

    fn function_names(module: &Module) -> Vec<&str> {
        module.funcs.iter().filter_map(|function| function.name.as_deref()).collect()
    }

    #[test]
    fn only_the_listed_callbacks_stay() {
        let module = stripped(&["proxy_on_configure", "proxy_on_request_headers"]).unwrap();
        assert_eq!(
            exports(&module),
            [
                "_initialize",
                "memory",
                "proxy_abi_version_0_2_1",
                "proxy_on_configure",
                "proxy_on_memory_allocate",
                "proxy_on_request_headers",
            ]
        );
    }

    #[test]
    fn the_allocator_and_the_rest_stay_without_being_listed() {
        assert_eq!(
            exports(&stripped(&[]).unwrap()),
            ["_initialize", "memory", "proxy_abi_version_0_2_1", "proxy_on_memory_allocate"]
        );
    }

    #[test]
    fn code_and_imports_of_a_removed_callback_go_with_it() {
        let module = stripped(&["proxy_on_configure"]).unwrap();
        assert!(!function_names(&module).contains(&"tick"));
        assert!(!function_names(&module).contains(&"helper"));
        let imports: Vec<&str> = module.imports.iter().map(|import| import.name.as_str()).collect();
        assert_eq!(imports, ["proxy_log"]);
    }

    /// The functions of the table by what they call, and an indirect call of the first one's type.
    const TABLE: &str = r#"
        (module
          (import "env" "proxy_log" (func $log))
          (import "env" "proxy_grpc_call" (func $grpc))
          (table funcref (elem $no_result $result $uncallable))
          (func $no_result (param i32) call $log)
          (func $result (param i32) (result i32) local.get 0)
          (func $uncallable (param i64) call $grpc)
          (func (export "_initialize") i32.const 7 i32.const 0 call_indirect (param i32)))
    "#;

    #[test]
    fn what_no_indirect_call_has_the_type_of_goes() {
        let wasm = strip(&wat::parse_str(TABLE).unwrap(), &[]).unwrap();
        let module = Module::from_buffer(&wasm).unwrap();
        let imports: Vec<&str> = module.imports.iter().map(|import| import.name.as_str()).collect();
        assert_eq!(imports, ["proxy_log"]);
        let names = function_names(&module);
        assert!(names.contains(&"no_result"));
        assert!(!names.contains(&"result") && !names.contains(&"uncallable"));
    }

    #[test]
    fn addresses_of_functions_stay() {
        let wasm = strip(&wat::parse_str(TABLE).unwrap(), &[]).unwrap();
        let module = Module::from_buffer(&wasm).unwrap();
        let element = module.elements.iter().next().unwrap();
        let ElementItems::Functions(functions) = &element.items else { panic!("no functions") };
        let names: Vec<_> =
            functions.iter().map(|id| module.funcs.get(*id).name.as_deref()).collect();
        assert_eq!(names, [Some("no_result"), None, None]);
    }

    #[test]
    fn missing_callbacks_are_named() {
        let keep = ["proxy_on_configure", "proxy_on_done", "proxy_on_log"];
        let error = stripped(&keep).unwrap_err();
        assert_eq!(error.to_string(), "does not export proxy_on_done, proxy_on_log");
    }

    #[test]
    fn an_export_that_is_no_function_is_no_callback() {
        let error = stripped(&["memory"]).unwrap_err();
        assert_eq!(error.to_string(), "does not export memory");
    }

    #[test]
    fn names_are_those_of_the_source() {
        let module = stripped(&["proxy_on_request_headers"]).unwrap();
        assert!(function_names(&module).contains(&"sluice_router::route"));
    }

    #[test]
    fn an_own_callback_takes_the_place_of_the_sdks() {
        let module = stripped(&["sluice_on_tick"]).unwrap();
        assert!(exports(&module).contains(&"proxy_on_tick"));
        assert!(!exports(&module).iter().any(|name| name.starts_with("sluice_")));
        assert!(function_names(&module).contains(&"own"));
        // Which goes on to the SDK's.
        assert!(function_names(&module).contains(&"tick"));
    }

    #[test]
    fn drop_glue_has_no_name() {
        let module = stripped(&["proxy_on_request_headers"]).unwrap();
        assert!(!function_names(&module).iter().any(|name| name.contains("drop_in_place")));
    }

    #[test]
    fn no_producers_section_is_added() {
        let wasm = strip(&wat::parse_str(MODULE).unwrap(), &[]).unwrap();
        assert!(!wasm.windows(9).any(|window| window == b"producers"));
    }

    #[test]
    fn what_is_no_module_is_an_error() {
        assert!(strip(b"not wasm", &[]).is_err());
    }
}
