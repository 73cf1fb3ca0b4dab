//! Starting child processes.

use std::process::{Child, Command};
use std::sync::{Mutex, OnceLock, mpsc};
use std::thread;

/// Starts a program from a thread that lives as long as this process, since the death of the
/// starting thread is what the kernel takes for the death of the parent.
pub fn spawn(command: Command) -> Child {
    type Order = (Command, mpsc::Sender<std::io::Result<Child>>);
    static STARTER: OnceLock<Mutex<mpsc::Sender<Order>>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (orders, incoming) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, reply) in incoming {
                let _ = reply.send(command.spawn());
            }
        });
        Mutex::new(orders)
    });
    let (reply, child) = mpsc::channel();
    starter.lock().unwrap().send((command, reply)).unwrap();
    child.recv().unwrap().expect("setpriv, of util-linux, can be run")
}
