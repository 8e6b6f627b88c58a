// SPDX-License-Identifier: GPL-3.0-or-later
//! Searching by DNS-SD for what announces itself as a Manager of Tablao. The protocol is the
//! library's.

use std::net::{IpAddr, SocketAddr};

use mdns_sd::{ResolvedService, ServiceDaemon, ServiceEvent};
use tokio::sync::mpsc;

use super::{Candidate, How};

const SERVICE: &str = "_tablao._tcp.local.";

/// Listens, and passes on what answers, until nobody wants to know any more.
pub(super) async fn search(found: mpsc::Sender<Candidate>) {
    let browsing = ServiceDaemon::new().and_then(|daemon| Ok((daemon.browse(SERVICE)?, daemon)));
    let (events, daemon) = match browsing {
        Ok(browsing) => browsing,
        Err(error) => {
            tracing::warn!(%error, "the network cannot be searched by DNS-SD");
            return;
        }
    };
    loop {
        let event = tokio::select! {
            () = found.closed() => break,
            event = events.recv_async() => event,
        };
        match event {
            Ok(ServiceEvent::ServiceResolved(service)) => {
                for url in addresses(&service) {
                    let how = How::DnsSd;
                    if found.send(Candidate { url, how }).await.is_err() {
                        break;
                    }
                }
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    // Its thread ends by itself.
    let _ = daemon.shutdown();
}

/// Addresses of a Manager, IPv4 first; those that only mean something on one interface are left.
fn addresses(service: &ResolvedService) -> Vec<String> {
    let mut ips: Vec<IpAddr> = (service.get_addresses().iter())
        .map(mdns_sd::ScopedIp::to_ip_addr)
        .filter(|ip| match ip {
            IpAddr::V4(_) => true,
            IpAddr::V6(ip) => !ip.is_unicast_link_local(),
        })
        .collect();
    ips.sort_by_key(|ip| (ip.is_loopback(), ip.is_ipv6(), *ip));
    (ips.into_iter())
        .map(|ip| format!("http://{}", SocketAddr::new(ip, service.get_port())))
        .collect()
}
