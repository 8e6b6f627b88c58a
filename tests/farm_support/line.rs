// SPDX-License-Identifier: GPL-3.0-or-later
//! A line between two processes that a test can cut: a TCP proxy in the test's own process.
//!
//! Cutting resets what is open and closes the door, so that calls are refused; a cut can also be
//! set to fall after so many more bytes, in the middle of a message. Restoring listens again.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From who called to who was called.
    Up,
    /// Back.
    Down,
}

struct State {
    is_open: bool,
    /// Counts restorations: a door of before must not let anybody in.
    era: u64,
    live: Vec<TcpStream>,
    /// The cut falls when so many more bytes have gone this way.
    cut_after: Option<(Way, usize)>,
    /// Each piece is held back so long.
    delay: Duration,
    /// Bytes that went up and down.
    carried: [u64; 2],
}

/// The line. Cut when dropped.
pub(crate) struct Line {
    state: Arc<Mutex<State>>,
    /// Where callers reach it.
    pub(crate) address: String,
    to: String,
}

impl Line {
    /// From `address` to `to`, open.
    pub(crate) fn new(address: String, to: &str) -> Self {
        let state = State {
            is_open: false,
            era: 0,
            live: Vec::new(),
            cut_after: None,
            delay: Duration::ZERO,
            carried: [0, 0],
        };
        let line = Self {
            state: Arc::new(Mutex::new(state)),
            address,
            to: to.to_owned(),
        };
        line.restore();
        line
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    /// Breaks what is open and refuses what comes.
    pub(crate) fn cut(&self) {
        cut(&mut self.state());
        // Wakes the door so that it sees that it is closed. An error means that it has.
        let _ = TcpStream::connect(&self.address);
        super::until("the line's door to close", || {
            TcpStream::connect(&self.address).is_err().then_some(())
        });
    }

    /// Cuts in the middle of something: after so many more bytes that way.
    pub(crate) fn cut_after(&self, way: Way, bytes: usize) {
        self.state().cut_after = Some((way, bytes));
    }

    /// A cut that was set has fallen; nobody is let through any more.
    pub(crate) fn is_cut(&self) -> bool {
        !self.state().is_open
    }

    /// Holds back each piece so long.
    pub(crate) fn delay(&self, delay: Duration) {
        self.state().delay = delay;
    }

    /// Bytes that went this way so far.
    pub(crate) fn carried(&self, way: Way) -> u64 {
        self.state().carried[way as usize]
    }

    /// Lets calls through again.
    pub(crate) fn restore(&self) {
        // A door that was closed by a cut in the middle may not have noticed yet.
        let _ = TcpStream::connect(&self.address);
        let door = super::until("the line's address to be free", || {
            TcpListener::bind(&self.address).ok()
        });
        let era = {
            let mut state = self.state();
            state.is_open = true;
            state.cut_after = None;
            state.era += 1;
            state.era
        };
        let (state, to) = (Arc::clone(&self.state), self.to.clone());
        std::thread::spawn(move || {
            for caller in door.incoming().flatten() {
                let is_closed = {
                    let state = locked(&state);
                    !state.is_open || state.era != era
                };
                if is_closed {
                    return;
                }
                // Nobody there: the caller is dropped, as a broken line would.
                if let Ok(called) = TcpStream::connect(&to) {
                    connect(&state, &caller, &called);
                }
            }
        });
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        cut(&mut self.state());
        let _ = TcpStream::connect(&self.address);
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(|error| error.into_inner())
}

fn cut(state: &mut State) {
    state.is_open = false;
    state.cut_after = None;
    for stream in state.live.drain(..) {
        // One that is closed already is as good.
        let _ = stream.shutdown(Shutdown::Both);
    }
}

fn connect(state: &Arc<Mutex<State>>, caller: &TcpStream, called: &TcpStream) {
    for (way, from, to) in [(Way::Up, caller, called), (Way::Down, called, caller)] {
        let copies = from
            .try_clone()
            .and_then(|from| Ok((from, to.try_clone()?)));
        let (from, to) = copies.expect("a socket can be shared between threads");
        locked(state)
            .live
            .push(from.try_clone().expect("a socket can be shared"));
        let state = Arc::clone(state);
        std::thread::spawn(move || carry(&state, way, from, to));
    }
}

/// Carries bytes one way until either end closes or the line is cut.
fn carry(state: &Mutex<State>, way: Way, mut from: TcpStream, mut to: TcpStream) {
    let mut piece = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        let delay = locked(state).delay;
        // A slow line; nothing waits for this sleep to be long enough.
        std::thread::sleep(delay);
        let mut length = length;
        let mut falls = false;
        {
            let mut state = locked(state);
            if let Some((_, left)) = (state.cut_after.as_mut()).filter(|(which, _)| *which == way) {
                falls = length >= *left;
                length = length.min(*left);
                *left -= length;
            }
            state.carried[way as usize] += length as u64;
        }
        let written = to.write_all(&piece[..length]);
        if falls {
            cut(&mut locked(state));
        }
        if written.is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
