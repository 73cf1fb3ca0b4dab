//! Starting child processes.

use std::process::{Child, Command};
use std::sync::{Mutex, OnceLock, mpsc};
use std::thread;

/// Starts a program from a thread that never ends, because `setpriv --pdeathsig` sends the signal
/// when the starting thread ends, not the process.
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
    child.recv().unwrap().expect("cannot run setpriv of util-linux")
}
