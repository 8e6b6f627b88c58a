// SPDX-License-Identifier: GPL-3.0-or-later
//! Searching by UPnP/SSDP: the question that Flamenco's Workers ask, and reading its answers.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
    time::Duration,
};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::{net::UdpSocket, sync::mpsc};

use super::{Candidate, How};

const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 255, 255, 250), 1900);
/// Each Manager answers as this device.
const DEVICE: &str = "aa80bc5f-d0af-46b8-8630-23bd7e80ec4d";
/// Answers come within a second.
const QUESTION: &str = "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n\
    MAN: \"ssdp:discover\"\r\nMX: 1\r\nST: urn:flamenco:manager:0\r\n\r\n";
const EVERY: Duration = Duration::from_secs(1);
const LATER_EVERY: Duration = Duration::from_secs(10);
const AT_FIRST: u32 = 60;
const HOPS_MAX: u32 = 2;

/// Asks again and again and passes on what answers, until nobody wants to know any more.
pub(super) async fn search(found: mpsc::Sender<Candidate>) {
    let socket = match open() {
        Ok(socket) => socket,
        Err(error) => {
            tracing::warn!(%error, "the network cannot be searched by UPnP");
            return;
        }
    };
    let mut datagram = [0; 2048];
    let mut asked = 0;
    let mut next = tokio::time::Instant::now();
    loop {
        tokio::select! {
            () = found.closed() => return,
            () = tokio::time::sleep_until(next) => {
                ask(&socket);
                asked += 1;
                next += if asked < AT_FIRST { EVERY } else { LATER_EVERY };
            }
            heard = socket.recv_from(&mut datagram) => {
                let answer = heard.ok().and_then(|(length, _)| manager_in(&datagram[..length]));
                if let Some(url) = answer {
                    // One that there is no room for is told of again in a second.
                    let _ = found.try_send(Candidate { url, how: How::Ssdp });
                }
            }
        }
    }
}

fn open() -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_multicast_ttl_v4(HOPS_MAX)?;
    socket.set_multicast_loop_v4(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into())?;
    UdpSocket::from_std(socket.into())
}

/// Asks on every interface: which one the Manager is behind is what is not known.
fn ask(socket: &UdpSocket) {
    let socket = SockRef::from(socket);
    let group = SocketAddr::V4(GROUP).into();
    for interface in if_addrs::get_if_addrs().unwrap_or_default() {
        let IpAddr::V4(ip) = interface.ip() else {
            continue;
        };
        let sent = (socket.set_multicast_if_v4(&ip))
            .and_then(|()| socket.send_to(QUESTION.as_bytes(), &group));
        if let Err(error) = sent {
            tracing::debug!(%error, interface = interface.name, "UPnP: nothing was asked there");
        }
    }
}

/// The address of the Manager that an answer tells of.
fn manager_in(datagram: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(datagram).ok()?;
    let mut lines = text.lines();
    if !lines.next()?.starts_with("HTTP/1.1 200") {
        return None;
    }
    let (mut is_manager, mut location) = (false, None);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        match &*name.trim().to_ascii_lowercase() {
            "usn" => {
                let device = value.trim().strip_prefix("uuid:");
                is_manager = device.is_some_and(|device| device.starts_with(DEVICE));
            }
            "location" => location = reqwest::Url::parse(value.trim()).ok(),
            _ => {}
        }
    }
    let location = location.filter(|location| is_manager && location.scheme() == "http")?;
    // Where the description lies says nothing; the API is at the root.
    let root = location.join("/").ok()?;
    root.has_host()
        .then(|| root.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers come from anybody: only a Manager's, with an address, leads anywhere.
    #[test]
    fn the_address_is_read_from_a_managers_answer_only() {
        let answer = "HTTP/1.1 200 OK\r\nST: urn:flamenco:manager:0\r\n\
            USN: uuid:aa80bc5f-d0af-46b8-8630-23bd7e80ec4d::urn:flamenco:manager:0\r\n\
            Location: http://198.51.100.7:8080/upnp/description.xml\r\n\
            CACHE-CONTROL: max-age=3600\r\n\r\n";
        let expected = Some("http://198.51.100.7:8080".to_owned());
        assert_eq!(manager_in(answer.as_bytes()), expected);
        let six = answer.replace("198.51.100.7", "[2001:db8::7]");
        let expected = Some("http://[2001:db8::7]:8080".to_owned());
        assert_eq!(manager_in(six.as_bytes()), expected);
        for wrong in [
            answer.replace("aa80bc5f", "bb80bc5f"),
            answer.replace("http://", "file://"),
            answer.replace("Location", "Elsewhere"),
            answer.replace("HTTP/1.1 200 OK", "NOTIFY * HTTP/1.1"),
        ] {
            assert_eq!(manager_in(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
