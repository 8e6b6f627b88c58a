// SPDX-License-Identifier: GPL-3.0-or-later
//! The process that runs one script: an order on standard input, the answer on standard output.
//!
//! It limits itself before it looks at the script: memory of the whole process, processor time,
//! and on Linux it does not outlive who ordered. Who ordered, and what is made of a process that
//! dies, is `isolation`'s part.

use std::{
    cell::{Cell, RefCell},
    io::{BufWriter, Read as _, Write as _},
    rc::Rc,
};

use crate::{
    compiler::{self, Place},
    error::Error,
    options::Options,
    wire::{self, Order, Work},
};

/// What the process may need beside the virtual machine and what comes out of it.
#[cfg(target_os = "linux")]
const OTHER_BYTES_MAX: u64 = 64 << 20;

/// Runs the script that standard input orders, and returns the exit code of the process.
///
/// For the program that [`crate::ChildProgram`] names; nothing else may write to standard output.
pub fn run_script_for_parent() -> u8 {
    let mut text = Vec::new();
    let read = std::io::stdin().lock().read_to_end(&mut text);
    let order = read.map_err(|error| error.to_string()).and_then(|_| {
        serde_json::from_slice::<Order<'_>>(&text).map_err(|error| error.to_string())
    });
    let order = match order {
        Ok(order) => order,
        Err(problem) => {
            eprintln!("no order was understood on standard input: {problem}");
            return 2;
        }
    };
    let options = order.options();
    limit_this_process(&options);
    match answer(&order, &options) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("the answer could not be written: {error}");
            1
        }
    }
}

fn answer(order: &Order<'_>, options: &Options) -> std::io::Result<()> {
    let stdout = BufWriter::with_capacity(1 << 16, std::io::stdout());
    let stdout = Rc::new(RefCell::new(stdout));
    wire::write_mark(&mut *stdout.borrow_mut())?;
    stdout.borrow_mut().flush()?;
    let (script, sources) = order.script_and_sources();
    match &order.work {
        Work::Declare => {
            let declared = compiler::declare(&script, &sources, options, Place::Child);
            let mut stdout = stdout.borrow_mut();
            wire::write_mark(&mut *stdout)?;
            wire::write_declared(&mut *stdout, declared)?;
        }
        Work::Compile(job) => {
            let count = Rc::new(Cell::new(0));
            let (sent, to) = (Rc::clone(&count), Rc::clone(&stdout));
            let early = Box::new(move |task: &_| {
                // Who ordered is gone, then: the answer says so once more.
                if wire::write_early(&mut *to.borrow_mut(), task).is_ok() {
                    sent.set(sent.get() + 1);
                }
            });
            let compiled = match job.submitted() {
                Some(job) => {
                    compiler::compile(&script, &sources, options, job, Place::Child, Some(early))
                }
                None => Err(Error::InvalidJobType {
                    script: script.path,
                    problem: "the time of its submission is out of range".to_owned(),
                }),
            };
            let mut stdout = stdout.borrow_mut();
            wire::write_mark(&mut *stdout)?;
            wire::write_compiled(&mut *stdout, compiled, count.get())?;
        }
    }
    stdout.borrow_mut().flush()
}

/// The limit that holds whatever the script does inside the engine's own code. Where one cannot
/// be set, those inside the virtual machine remain.
#[cfg(unix)]
fn limit_this_process(options: &Options) {
    use nix::sys::resource::{Resource, setrlimit};
    #[cfg(target_os = "linux")]
    {
        let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
        if let Some(now) = address_space_in_use() {
            // What comes out is held twice for a moment, while a buffer grows.
            let script = options
                .memory_bytes_max
                .saturating_add(options.output_bytes_max.saturating_mul(2));
            let all = now
                .saturating_add(OTHER_BYTES_MAX)
                .saturating_add(script as u64);
            let _ = setrlimit(Resource::RLIMIT_AS, all, all);
        }
    }
    // Processor time passes more slowly than the clock that ends the script: this is for an order
    // whose giver is gone.
    let longest = options.compile_time_max.max(options.load_time_max);
    let seconds = longest.as_secs() + 70;
    let _ = setrlimit(Resource::RLIMIT_CPU, seconds, seconds + 1);
    // A script that ends its process is not worth a core file.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
}

#[cfg(not(unix))]
fn limit_this_process(_: &Options) {
    // Memory is limited inside the virtual machine only, and time by the process that ordered.
}

#[cfg(target_os = "linux")]
fn address_space_in_use() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmSize:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
