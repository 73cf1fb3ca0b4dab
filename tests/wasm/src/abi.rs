//! The functions that modules import: those of proxy-wasm's ABI 0.2.1 and of WASI that Sluice
//! calls.
//!
//! Functions that no script requires are missing on purpose: a module that calls one fails the
//! test.

use wasmi::{Caller, Error, Extern, Func, Memory, Val};

use crate::answers::Answer;
use crate::headers::encode;
use crate::host::Host;

/// proxy-wasm's status codes.
const OK: i32 = 0;
const NOT_FOUND: i32 = 1;
const BAD_ARGUMENT: i32 = 2;
const CAS_MISMATCH: i32 = 8;

/// WASI's clock of the time of day. Its zero is 1970, the other clock's is the start of the host.
const REALTIME: u32 = 0;
/// The time of day at the start of the host: 2026-01-01T00:00:00Z, in nanoseconds.
const START: u64 = 1_767_225_600 * 1_000_000_000;

const INFO: u32 = 2;

/// A call from the module.
pub(crate) struct Call<'a, 'c> {
    pub caller: &'a mut Caller<'c, Host>,
    pub arguments: &'a [Val],
    memory: Memory,
}

impl<'a, 'c> Call<'a, 'c> {
    pub(crate) fn new(
        caller: &'a mut Caller<'c, Host>,
        arguments: &'a [Val],
    ) -> Result<Self, Error> {
        let memory = caller.get_export("memory").and_then(Extern::into_memory);
        let memory = memory.ok_or_else(|| Error::new("the module exports no memory"))?;
        Ok(Self { caller, arguments, memory })
    }

    /// Returns an answer to a call of the function of this name, which may be wrong.
    pub(crate) fn answer(&mut self, name: &str, answer: Answer) -> Result<i32, Error> {
        match answer {
            Answer::Honest => self.run(name),
            Answer::Nested => {
                self.nest()?;
                self.run(name)
            }
            Answer::Status(status) => {
                // Gauges show whether the module ends what it began, and lines why it has trapped.
                if matches!(name, "proxy_increment_metric" | "proxy_log") {
                    self.run(name)?;
                }
                Ok(status)
            }
            Answer::Null(size) => match bytes_place(name) {
                Some(place) => {
                    self.give_number(place, &[0; 4])?;
                    self.give_number(place + 1, &size.to_le_bytes())
                }
                None => self.run(name),
            },
            Answer::Bytes(bytes) => match bytes_place(name) {
                Some(place) => self.give(place, &bytes),
                None => self.run(name),
            },
            Answer::Number(number) => match number_place(name) {
                Some((place, size)) => {
                    self.run(name)?;
                    self.give_number(place, &number.to_le_bytes()[..size])
                }
                None => self.run(name),
            },
        }
    }

    /// Runs another stream, as Envoy does for a call whose cluster has a filter of the same module.
    fn nest(&mut self) -> Result<(), Error> {
        let Some(plugin) = self.host().effective_plugin else { return Ok(()) };
        let host = self.host();
        host.nested_context = host.nested_context.wrapping_sub(1);
        let context = host.nested_context;
        host.contexts.push(context);
        self.call("proxy_on_context_create", &[context, plugin])?;
        self.call("proxy_on_request_headers", &[context, 0, 1])?;
        self.call("proxy_on_log", &[context])?;
        self.call("proxy_on_delete", &[context])?;
        self.host().contexts.retain(|known| *known != context);
        Ok(())
    }

    /// Calls a function of the module, if it has it.
    fn call(&mut self, name: &str, arguments: &[u32]) -> Result<(), Error> {
        let Some(function) = self.caller.get_export(name).and_then(Extern::into_func) else {
            return Ok(());
        };
        let arguments: Vec<_> = arguments.iter().map(|own| Val::I32(own.cast_signed())).collect();
        let mut results = vec![Val::I32(0); function.ty(&*self.caller).results().len()];
        function.call(&mut *self.caller, &arguments, &mut results)
    }

    /// Executes the function of this name and returns its result.
    pub(crate) fn run(&mut self, name: &str) -> Result<i32, Error> {
        match name {
            "proxy_http_call" => {
                let host = self.host();
                host.last_token += 1;
                let token = host.last_token;
                host.sent_calls.push_back(token);
                self.give_number(9, &token.to_le_bytes())
            }
            "proxy_log" => {
                let text = String::from_utf8_lossy(&self.bytes(1)?).into_owned();
                if self.number(0) >= INFO {
                    self.host().log.push(text);
                }
                Ok(OK)
            }
            "proxy_get_log_level" => self.give_number(0, &INFO.to_le_bytes()),
            "proxy_get_buffer_bytes" => {
                let [kind, start, size] = [0, 1, 2].map(|place| self.number(place));
                let Some(buffer) = self.host().buffers.get(&kind) else { return Ok(NOT_FOUND) };
                let rest = buffer.get(start as usize..).unwrap_or_default();
                let bytes = rest[..rest.len().min(size as usize)].to_vec();
                self.give(3, &bytes)
            }
            "proxy_get_property" => {
                let path = self.bytes(0)?;
                let value = self.host().properties.get(&path).cloned();
                value.map_or(Ok(NOT_FOUND), |value| self.give(2, &value))
            }
            "proxy_set_property" => Ok(OK),
            "proxy_get_header_map_pairs" => {
                let kind = self.number(0);
                let Some(map) = self.host().maps.get(&kind) else { return Ok(BAD_ARGUMENT) };
                let pairs = encode(map);
                self.give(1, &pairs)
            }
            "proxy_get_header_map_value" => {
                let (kind, name) = (self.number(0), self.bytes(1)?);
                let Some(map) = self.host().maps.get(&kind) else { return Ok(BAD_ARGUMENT) };
                let value = map.iter().find(|(known, _)| known.as_bytes() == name);
                let value = value.map(|(_, value)| value.clone());
                value.map_or(Ok(NOT_FOUND), |value| self.give(3, &value))
            }
            "proxy_add_header_map_value" => self.edit(false, true),
            "proxy_replace_header_map_value" => self.edit(true, true),
            "proxy_remove_header_map_value" => self.edit(true, false),
            "proxy_send_local_response" => {
                let status = self.number(0);
                self.host().reply = Some(status);
                Ok(OK)
            }
            "proxy_continue_stream" => {
                self.host().is_resumed = true;
                Ok(OK)
            }
            "proxy_close_stream" => {
                self.host().is_closed = true;
                Ok(OK)
            }
            "proxy_set_tick_period_milliseconds" => {
                let period = u64::from(self.number(0)) * 1_000_000;
                let host = self.host();
                host.timer = (period > 0).then_some((host.now + period, period));
                Ok(OK)
            }
            "proxy_set_effective_context" => {
                let id = self.number(0);
                Ok(if self.host().contexts.contains(&id) { OK } else { BAD_ARGUMENT })
            }
            // None of the foreign functions that Sluice calls has a result.
            "proxy_call_foreign_function" => Ok(OK),
            "proxy_define_metric" => {
                let name = String::from_utf8_lossy(&self.bytes(1)?).into_owned();
                self.host().metrics.push((name, 0));
                let id = self.host().metrics.len() - 1;
                self.give_number(3, &(id as u32).to_le_bytes())
            }
            "proxy_increment_metric" => {
                let (id, by) = (self.number(0), self.arguments[1].i64().unwrap_or_default());
                let Some((_, value)) = self.host().metrics.get_mut(id as usize) else {
                    return Ok(BAD_ARGUMENT);
                };
                *value += by;
                Ok(OK)
            }
            "proxy_record_metric" => {
                let (id, value) = (self.number(0), self.arguments[1].i64().unwrap_or_default());
                let Some((_, last)) = self.host().metrics.get_mut(id as usize) else {
                    return Ok(BAD_ARGUMENT);
                };
                *last = value;
                Ok(OK)
            }
            "proxy_get_metric" => {
                let id = self.number(0);
                let Some((_, value)) = self.host().metrics.get(id as usize) else {
                    return Ok(BAD_ARGUMENT);
                };
                let value = value.to_le_bytes();
                self.give_number(1, &value)
            }
            "proxy_get_shared_data" => {
                let key = self.bytes(0)?;
                let Some((value, version)) = self.host().shared.get(&key).cloned() else {
                    return Ok(NOT_FOUND);
                };
                self.give(2, &value)?;
                self.give_number(4, &version.to_le_bytes())
            }
            "proxy_set_shared_data" => {
                let (key, value, expected) = (self.bytes(0)?, self.bytes(2)?, self.number(4));
                let version = self.host().shared.get(&key).map(|(_, version)| *version);
                if version.is_some_and(|version| expected != 0 && version != expected) {
                    return Ok(CAS_MISMATCH);
                }
                self.host().shared.insert(key, (value, version.unwrap_or_default() + 1));
                Ok(OK)
            }
            "clock_time_get" => {
                let start = if self.number(0) == REALTIME { START } else { 0 };
                let time = start + self.host().now;
                self.give_number(2, &time.to_le_bytes())
            }
            "random_get" => {
                let host = self.host();
                host.draws = host.draws.wrapping_add(1);
                let bytes = vec![host.draws; self.number(1) as usize];
                self.give_number(0, &bytes)
            }
            "environ_sizes_get" => {
                self.give_number(0, &[0; 4])?;
                self.give_number(1, &[0; 4])
            }
            "environ_get" => Ok(OK),
            // Other output on standard error is the message of a panic, which traps afterwards.
            "fd_write" => Ok(BAD_ARGUMENT),
            _ => Err(Error::new(format!("the script has no {name}"))),
        }
    }

    fn host(&mut self) -> &mut Host {
        self.caller.data_mut()
    }

    /// Returns an argument of 32 bits; the first one is 0.
    fn number(&self, place: usize) -> u32 {
        self.arguments.get(place).and_then(Val::i32).unwrap_or_default().cast_unsigned()
    }

    /// Returns the bytes at an address argument, with the size in the next argument.
    fn bytes(&mut self, place: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; self.number(place + 1) as usize];
        self.memory.read(&*self.caller, self.number(place) as usize, &mut bytes)?;
        Ok(bytes)
    }

    /// Writes bytes at the address in an argument.
    fn give_number(&mut self, place: usize, bytes: &[u8]) -> Result<i32, Error> {
        let address = self.number(place) as usize;
        self.memory.write(&mut *self.caller, address, bytes)?;
        Ok(OK)
    }

    /// Copies bytes to memory that the module allocates, and writes the address and size where two
    /// arguments point. Allocates nothing for empty bytes, like Envoy.
    fn give(&mut self, place: usize, bytes: &[u8]) -> Result<i32, Error> {
        let mut address = 0;
        if !bytes.is_empty() {
            let allocate = self.caller.get_export("proxy_on_memory_allocate");
            let allocate: Func = allocate
                .and_then(Extern::into_func)
                .ok_or_else(|| Error::new("the module exports no proxy_on_memory_allocate"))?;
            let size = i32::try_from(bytes.len()).map_err(|_| Error::new("too many bytes"))?;
            let mut results = [Val::I32(0)];
            allocate.call(&mut *self.caller, &[Val::I32(size)], &mut results)?;
            address = results[0].i32().unwrap_or_default().cast_unsigned();
            self.host().allocations += 1;
            self.memory.write(&mut *self.caller, address as usize, bytes)?;
        }
        self.give_number(place, &address.to_le_bytes())?;
        self.give_number(place + 1, &(bytes.len() as u32).to_le_bytes())
    }

    /// Changes a header map: removes existing values if `removes`, then adds the value if `adds`.
    fn edit(&mut self, removes: bool, adds: bool) -> Result<i32, Error> {
        let kind = self.number(0);
        let name = String::from_utf8_lossy(&self.bytes(1)?).into_owned();
        let value = if adds { self.bytes(3)? } else { Vec::new() };
        let Some(map) = self.host().maps.get_mut(&kind) else { return Ok(BAD_ARGUMENT) };
        if removes {
            map.retain(|(known, _)| *known != name);
        }
        if adds {
            map.push((name, value));
        }
        Ok(OK)
    }
}

/// The argument of a function with the address for the bytes that it returns. The next argument is
/// the address for their length.
fn bytes_place(name: &str) -> Option<usize> {
    match name {
        "proxy_get_header_map_pairs" => Some(1),
        "proxy_get_property" | "proxy_get_shared_data" => Some(2),
        "proxy_get_buffer_bytes" | "proxy_get_header_map_value" => Some(3),
        "proxy_call_foreign_function" => Some(4),
        _ => None,
    }
}

/// The argument of a function with the address for the number that it returns, and its size in
/// bytes.
fn number_place(name: &str) -> Option<(usize, usize)> {
    match name {
        "proxy_get_log_level" => Some((0, 4)),
        "clock_time_get" => Some((2, 8)),
        "proxy_define_metric" => Some((3, 4)),
        "proxy_get_shared_data" => Some((4, 4)),
        "proxy_http_call" => Some((9, 4)),
        _ => None,
    }
}
