// SPDX-License-Identifier: GPL-3.0-or-later
//! The same by DNS-SD: `_tablao._tcp`, with the Manager's own name and id, so that several on one
//! network can be told apart. The protocol is the library's.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use mdns_sd::{IfKind, ServiceDaemon, ServiceInfo};
use tokio::sync::watch;

use super::{Identity, addresses};

/// What a Manager is, in DNS-SD's words.
const SERVICE: &str = "_tablao._tcp.local.";
/// How often the library looks at the machine's interfaces, in seconds.
const LOOK_AT_INTERFACES_S: u32 = 60;
/// A name in DNS has at most this many bytes.
const NAME_BYTES_MAX: usize = 63;
/// Time to say goodbye.
const FAREWELL: Duration = Duration::from_millis(500);

/// Tells of a Manager until it is to stop.
pub(super) async fn run(
    listening: SocketAddr,
    identity: Arc<Identity>,
    mut stop: watch::Receiver<bool>,
) {
    let daemon = match tell(listening, &identity) {
        Ok(told) => told,
        Err(error) => {
            tracing::warn!(%error, "Workers do not find this Manager by DNS-SD");
            return;
        }
    };
    // The sender is gone with the process.
    let _ = stop.wait_for(|stop| *stop).await;
    let (daemon, name) = daemon;
    // Whoever does not hear the goodbye finds out when the records are old.
    if let Ok(gone) = daemon.unregister(&name) {
        let _ = tokio::time::timeout(FAREWELL, gone.recv_async()).await;
    }
    if let Ok(ended) = daemon.shutdown() {
        let _ = tokio::time::timeout(FAREWELL, ended.recv_async()).await;
    }
}

fn tell(
    listening: SocketAddr,
    identity: &Identity,
) -> Result<(ServiceDaemon, String), mdns_sd::Error> {
    let daemon = ServiceDaemon::new()?;
    daemon.set_ip_check_interval(LOOK_AT_INTERFACES_S)?;
    let listens_everywhere = listening.ip().is_unspecified();
    if !listens_everywhere {
        daemon.disable_interface(IfKind::All)?;
        daemon.enable_interface(IfKind::Addr(listening.ip()))?;
    } else if listening.is_ipv4() {
        daemon.disable_interface(IfKind::IPv6)?;
    }
    let service = service(listening, identity)?;
    let name = service.get_fullname().to_owned();
    daemon.register(service)?;
    Ok((daemon, name))
}

fn service(listening: SocketAddr, identity: &Identity) -> Result<ServiceInfo, mdns_sd::Error> {
    let reachable = addresses::reachable(&addresses::of_machine(), listening);
    let ips: Vec<IpAddr> = reachable.iter().map(|own| own.ip).collect();
    // A host name of its own: what the machine's own name means is somebody else's to say.
    let short = identity.id.split('-').next().unwrap_or_default();
    let host = format!("tablao-{short}.local.");
    let properties = [
        ("path", "/"),
        ("api", "/api/v3"),
        ("version", env!("CARGO_PKG_VERSION")),
        ("manager", &*identity.id),
    ];
    let name = cut(&identity.name);
    let service = ServiceInfo::new(
        SERVICE,
        name,
        &host,
        &ips[..],
        listening.port(),
        &properties[..],
    )?;
    // Addresses that come later are told too, where any will do.
    Ok(if listening.ip().is_unspecified() {
        service.enable_addr_auto()
    } else {
        service
    })
}

fn cut(name: &str) -> &str {
    let end = (0..=name.len().min(NAME_BYTES_MAX))
        .rev()
        .find(|end| name.is_char_boundary(*end));
    &name[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A studio's long name must not keep its Manager from being found.
    #[test]
    fn a_long_name_is_cut_between_letters() {
        assert_eq!(cut("Tablao"), "Tablao");
        let long = "ñ".repeat(40);
        assert_eq!(cut(&long), "ñ".repeat(31));
    }
}
