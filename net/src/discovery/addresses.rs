// SPDX-License-Identifier: GPL-3.0-or-later
//! At which addresses a Manager can be reached, the best first, and by whom.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use if_addrs::{IfAddr, Interface};

/// One of this machine's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Own {
    pub(super) ip: IpAddr,
    /// Of an IPv4 address: which addresses are its neighbours'.
    mask: Option<Ipv4Addr>,
}

impl Own {
    fn new(interface: &Interface) -> Option<Self> {
        let mask = match &interface.addr {
            IfAddr::V4(address) => Some(address.netmask),
            IfAddr::V6(_) => None,
        };
        let ip = interface.ip();
        interface.is_oper_up().then_some(Self { ip, mask })
    }

    fn is_neighbour(&self, asker: Ipv4Addr) -> bool {
        match (self.ip, self.mask) {
            (IpAddr::V4(own), Some(mask)) => {
                u32::from(own) & u32::from(mask) == u32::from(asker) & u32::from(mask)
            }
            _ => false,
        }
    }
}

/// This machine's addresses at this moment.
pub(super) fn of_machine() -> Vec<Own> {
    match if_addrs::get_if_addrs() {
        Ok(interfaces) => interfaces.iter().filter_map(Own::new).collect(),
        Err(error) => {
            tracing::warn!(%error, "this machine's addresses cannot be listed");
            Vec::new()
        }
    }
}

/// Those of them at which a Manager that listens there is reached, the best first: usual
/// addresses, then link-local ones, then loopback; IPv4 before IPv6.
pub(super) fn reachable(own: &[Own], listening: SocketAddr) -> Vec<Own> {
    let is_heard = |ip: IpAddr| match listening.ip() {
        IpAddr::V4(on) if on.is_unspecified() => ip.is_ipv4(),
        on if on.is_unspecified() => true,
        on => on == ip,
    };
    let is_link_local_v6 = |ip: IpAddr| match ip {
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
        IpAddr::V4(_) => false,
    };
    let mut found: Vec<Own> = (own.iter().copied())
        .filter(|own| is_heard(own.ip))
        // Such an address says nothing without the asker's own interface.
        .filter(|own| !is_link_local_v6(own.ip))
        .filter(|own| !own.ip.is_multicast() && !own.ip.is_unspecified())
        .collect();
    let rank = |ip: IpAddr| match ip {
        ip if ip.is_loopback() => 2,
        IpAddr::V4(ip) if ip.is_link_local() => 1,
        _ => 0,
    };
    found.sort_by_key(|own| (rank(own.ip), own.ip.is_ipv6()));
    if found.iter().any(|own| rank(own.ip) == 0) {
        found.retain(|own| rank(own.ip) != 1);
    }
    found
}

/// Those that an asker is told: loopback only on the same machine, where it is no other's.
/// None for an asker that is no neighbour: a search with a forged sender would have this machine
/// send to whom it names.
pub(super) fn for_asker(own: &[Own], reachable: &[Own], asker: Ipv4Addr) -> Vec<IpAddr> {
    let is_same_machine = own.iter().any(|own| own.ip == IpAddr::V4(asker)) || asker.is_loopback();
    let is_near = asker.is_private() || asker.is_link_local();
    if !is_same_machine && !is_near && !own.iter().any(|own| own.is_neighbour(asker)) {
        return Vec::new();
    }
    (reachable.iter())
        .map(|own| own.ip)
        .filter(|ip| is_same_machine || !ip.is_loopback())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(ip: &str, mask: &str) -> Own {
        Own {
            ip: ip.parse().unwrap(),
            mask: mask.parse().ok(),
        }
    }

    fn machine() -> Vec<Own> {
        vec![
            own("127.0.0.1", "255.0.0.0"),
            own("::1", ""),
            own("fe80::1", ""),
            own("2001:db8::7", ""),
            own("169.254.3.4", "255.255.0.0"),
            own("198.51.100.7", "255.255.255.0"),
        ]
    }

    fn texts(listening: &str) -> String {
        let found = reachable(&machine(), listening.parse().unwrap());
        let found: Vec<String> = found.iter().map(|own| own.ip.to_string()).collect();
        found.join(" ")
    }

    /// A Worker tries what it is told in turn: an address that nobody answers at costs it time.
    #[test]
    fn the_best_address_comes_first_and_only_where_somebody_listens() {
        assert_eq!(texts("0.0.0.0:8080"), "198.51.100.7 127.0.0.1");
        assert_eq!(texts("[::]:8080"), "198.51.100.7 2001:db8::7 127.0.0.1 ::1");
        assert_eq!(texts("198.51.100.7:8080"), "198.51.100.7");
        let lonely = [own("169.254.3.4", "255.255.0.0")];
        let listening = "0.0.0.0:8080".parse().unwrap();
        assert_eq!(reachable(&lonely, listening), lonely);
    }

    /// A Worker elsewhere must not take its own machine for the Manager, and a stranger must get
    /// no answer at all.
    #[test]
    fn an_asker_is_told_what_it_can_reach() {
        let machine = machine();
        let reachable = reachable(&machine, "0.0.0.0:8080".parse().unwrap());
        let told = |asker: &str| for_asker(&machine, &reachable, asker.parse().unwrap()).len();
        assert_eq!(told("198.51.100.7"), 2, "the same machine");
        assert_eq!(told("127.0.0.1"), 2);
        assert_eq!(told("198.51.100.99"), 1, "a neighbour");
        assert_eq!(told("192.168.5.5"), 1, "of a network behind a router");
        assert_eq!(told("203.0.113.5"), 0, "a stranger");
    }
}
