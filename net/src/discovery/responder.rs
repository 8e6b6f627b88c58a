// SPDX-License-Identifier: GPL-3.0-or-later
//! The socket of UPnP's discovery: hears searches, answers neighbours, announces and says goodbye.
//!
//! One socket for all interfaces; they are looked at anew now and then, because cables are plugged
//! in and addresses change. Trouble is told once and costs the farm nothing.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::{
    net::UdpSocket,
    sync::{Semaphore, watch},
    time::Instant,
};

use super::{
    addresses::{self, Own},
    ssdp::{self, GROUP},
};

/// After the start it is announced twice, because datagrams get lost.
const FIRST: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];
/// Then before the last announcement ends to hold.
const EVERY: Duration = Duration::from_secs(55 * 60);
/// Interfaces are looked at after this pause at first, because a machine that just started may get
/// its addresses later, then after twice as long each time.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
const LOOK_AGAIN_MAX: Duration = Duration::from_secs(60);
/// Answers that wait for their time. A search that comes when there are more is repeated anyway.
const WAITING_MAX: usize = 256;
/// Announcements go no further than UPnP says.
const HOPS_MAX: u32 = 2;

/// Answers and announces until it is to stop.
pub(super) async fn run(listening: SocketAddr, mut stop: watch::Receiver<bool>) {
    let responder = match open().map(Arc::new) {
        Ok(socket) => Responder {
            socket,
            port: listening.port(),
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
            joined: Vec::new(),
            own: Vec::new(),
            reachable: Vec::new(),
            listening,
        },
        Err(error) => {
            tracing::warn!(%error, "Workers do not find this Manager by UPnP: port 1900 cannot be used");
            return;
        }
    };
    responder.live(&mut stop).await;
}

fn open() -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    // Others on this machine listen to the same announcements.
    socket.set_reuse_address(true)?;
    socket.set_multicast_ttl_v4(HOPS_MAX)?;
    // Workers on the same machine hear them too.
    socket.set_multicast_loop_v4(true)?;
    socket.set_nonblocking(true)?;
    let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, GROUP.port()));
    socket.bind(&everywhere.into())?;
    UdpSocket::from_std(socket.into())
}

struct Responder {
    socket: Arc<UdpSocket>,
    listening: SocketAddr,
    port: u16,
    waiting: Arc<Semaphore>,
    /// Addresses of interfaces on which the group is joined.
    joined: Vec<Ipv4Addr>,
    own: Vec<Own>,
    reachable: Vec<Own>,
}

impl Responder {
    async fn live(mut self, stop: &mut watch::Receiver<bool>) {
        let began = Instant::now();
        let mut announcements = FIRST.into_iter();
        let mut announce_at = began + announcements.next().unwrap_or(EVERY);
        let (mut look_at, mut look_again) = (began, LOOK_AGAIN);
        let mut datagram = [0; 2048];
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                () = tokio::time::sleep_until(look_at) => {
                    self.look_at_interfaces();
                    look_at = Instant::now() + look_again;
                    look_again = (look_again * 2).min(LOOK_AGAIN_MAX);
                }
                () = tokio::time::sleep_until(announce_at) => {
                    self.announce();
                    announce_at = (announcements.next())
                        .map_or_else(|| Instant::now() + EVERY, |after| began + after);
                }
                heard = self.socket.recv_from(&mut datagram) => match heard {
                    Ok((length, from)) => self.hear(&datagram[..length], from),
                    // Windows tells of an earlier answer that nobody took.
                    Err(error) => tracing::debug!(%error, "UPnP: a datagram was not heard"),
                }
            }
        }
        self.tell_all(|_| ssdp::byebye());
    }

    fn look_at_interfaces(&mut self) {
        self.own = addresses::of_machine();
        self.reachable = addresses::reachable(&self.own, self.listening);
        let now: Vec<Ipv4Addr> = (self.reachable.iter())
            .filter_map(|own| match own.ip {
                IpAddr::V4(ip) => Some(ip),
                IpAddr::V6(_) => None,
            })
            .collect();
        for ip in now.iter().filter(|ip| !self.joined.contains(ip)) {
            if let Err(error) = self.socket.join_multicast_v4(*GROUP.ip(), *ip) {
                tracing::warn!(%error, address = %ip, "searches by UPnP are not heard there");
            }
        }
        // One that is gone was left by the system.
        self.joined = now;
    }

    fn hear(&self, datagram: &[u8], from: SocketAddr) {
        let (Some(search), IpAddr::V4(asker)) = (ssdp::search(datagram), from.ip()) else {
            return;
        };
        let told = addresses::for_asker(&self.own, &self.reachable, asker);
        let Ok(permit) = Arc::clone(&self.waiting).try_acquire_owned() else {
            return;
        };
        let (socket, port) = (Arc::clone(&self.socket), self.port);
        tokio::spawn(async move {
            // Not all Managers of a network at once.
            let part: f64 = rand::random();
            tokio::time::sleep(search.within.mul_f64(part)).await;
            for ip in told {
                let answer = ssdp::answer(&search, ip, port, jiff::Timestamp::now());
                if let Err(error) = socket.send_to(answer.as_bytes(), from).await {
                    tracing::debug!(%error, %from, "UPnP: an answer was not sent");
                }
            }
            drop(permit);
        });
    }

    fn announce(&self) {
        let port = self.port;
        self.tell_all(|ip| ssdp::alive(ip, port));
    }

    /// Sends to the group from each of our addresses.
    fn tell_all(&self, text: impl Fn(IpAddr) -> String) {
        let socket = SockRef::from(&*self.socket);
        for ip in &self.joined {
            let sent = socket.set_multicast_if_v4(ip).and_then(|()| {
                let group = SocketAddr::V4(GROUP).into();
                socket.send_to(text((*ip).into()).as_bytes(), &group)
            });
            if let Err(error) = sent {
                tracing::debug!(%error, address = %ip, "UPnP: an announcement was not sent");
            }
        }
    }
}
