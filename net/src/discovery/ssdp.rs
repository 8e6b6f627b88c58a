// SPDX-License-Identifier: GPL-3.0-or-later
//! The messages of UPnP's discovery: searches that are understood, answers and announcements.
//!
//! Only text. Sockets are `responder`'s.

use std::{net::IpAddr, time::Duration};

/// Where searches and announcements go.
pub(super) const GROUP: std::net::SocketAddrV4 =
    std::net::SocketAddrV4::new(std::net::Ipv4Addr::new(239, 255, 255, 250), 1900);
/// What a Flamenco Manager is, in UPnP's words.
pub(super) const SERVICE: &str = "urn:flamenco:manager:0";
/// The same for each Manager: Flamenco's Workers accept no other.
pub(super) const DEVICE: &str = "aa80bc5f-d0af-46b8-8630-23bd7e80ec4d";
/// How long an announcement holds.
pub(super) const VALID_FOR: Duration = Duration::from_secs(3600);
/// Nobody is kept waiting longer, whatever it allows.
const DELAY_MAX: Duration = Duration::from_secs(5);

/// A search that is to be answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Search {
    /// What it searches for, as it is to be repeated.
    target: String,
    /// The answer comes within this time.
    pub(super) within: Duration,
}

/// Reads a search that means a Manager.
pub(super) fn search(datagram: &[u8]) -> Option<Search> {
    let text = std::str::from_utf8(datagram).ok()?;
    let mut lines = text.lines();
    if lines.next()? != "M-SEARCH * HTTP/1.1" {
        return None;
    }
    let (mut man, mut within, mut target) = (false, None, None);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        match &*name.trim().to_ascii_lowercase() {
            "man" => man = value == "\"ssdp:discover\"",
            "mx" => within = value.parse().ok().map(Duration::from_secs),
            "st" => target = Some(value.to_owned()),
            _ => {}
        }
    }
    let target = target.filter(|target| {
        let device = target.strip_prefix("uuid:").unwrap_or(target);
        target == SERVICE || target == "ssdp:all" || device == DEVICE
    })?;
    let within = within.filter(|_| man)?.min(DELAY_MAX);
    Some(Search { target, within })
}

/// The address of the description at one of our addresses.
fn location(ip: IpAddr, port: u16) -> String {
    let address = std::net::SocketAddr::new(ip, port);
    format!("http://{address}/upnp/description.xml")
}

fn server() -> String {
    let build = env!("CARGO_PKG_VERSION");
    format!("{}/1.0 UPnP/1.0 Tablao/{build}", std::env::consts::OS)
}

/// The answer to a search.
pub(super) fn answer(search: &Search, ip: IpAddr, port: u16, now: jiff::Timestamp) -> String {
    // Whoever searches for everything is told what it found.
    let target = match &*search.target {
        "ssdp:all" => SERVICE,
        target => target,
    };
    format!(
        "HTTP/1.1 200 OK\r\nST: {target}\r\nUSN: uuid:{DEVICE}::{SERVICE}\r\nLOCATION: {}\r\n\
         CACHE-CONTROL: max-age={}\r\nDATE: {}\r\nSERVER: {}\r\nEXT:\r\n\r\n",
        location(ip, port),
        VALID_FOR.as_secs(),
        now.strftime("%a, %d %b %Y %H:%M:%S GMT"),
        server(),
    )
}

/// Tells everybody that a Manager is there.
pub(super) fn alive(ip: IpAddr, port: u16) -> String {
    format!(
        "NOTIFY * HTTP/1.1\r\nHOST: {GROUP}\r\nNT: {SERVICE}\r\nNTS: ssdp:alive\r\n\
         USN: uuid:{DEVICE}::{SERVICE}\r\nLOCATION: {}\r\nCACHE-CONTROL: max-age={}\r\n\
         SERVER: {}\r\n\r\n",
        location(ip, port),
        VALID_FOR.as_secs(),
        server(),
    )
}

/// Tells everybody that it goes.
pub(super) fn byebye() -> String {
    format!(
        "NOTIFY * HTTP/1.1\r\nHOST: {GROUP}\r\nNT: {SERVICE}\r\nNTS: ssdp:byebye\r\n\
         USN: uuid:{DEVICE}::{SERVICE}\r\n\r\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(target: &str) -> String {
        format!(
            "M-SEARCH * HTTP/1.1\r\nHost: 239.255.255.250:1900\r\nMan: \"ssdp:discover\"\r\n\
             MX: 3\r\nST: {target}\r\n\r\n"
        )
    }

    /// Flamenco's Workers find a Manager by these words and no others; other devices' searches
    /// are none of ours.
    #[test]
    fn searches_for_a_manager_are_understood_and_no_others() {
        for target in [
            "urn:flamenco:manager:0",
            "ssdp:all",
            "uuid:aa80bc5f-d0af-46b8-8630-23bd7e80ec4d",
            "aa80bc5f-d0af-46b8-8630-23bd7e80ec4d",
        ] {
            let search = search(asked(target).as_bytes()).unwrap();
            assert_eq!(search.within, Duration::from_secs(3));
            let now = jiff::Timestamp::from_second(1_000_000_000).unwrap();
            let answer = answer(&search, "198.51.100.7".parse().unwrap(), 8080, now);
            let target = if target == "ssdp:all" {
                SERVICE
            } else {
                target
            };
            for line in [
                format!("ST: {target}"),
                format!("USN: uuid:{DEVICE}::urn:flamenco:manager:0"),
                "LOCATION: http://198.51.100.7:8080/upnp/description.xml".to_owned(),
                "CACHE-CONTROL: max-age=3600".to_owned(),
                "DATE: Sun, 09 Sep 2001 01:46:40 GMT".to_owned(),
                "EXT:".to_owned(),
            ] {
                assert!(answer.contains(&format!("\r\n{line}\r\n")), "{answer}");
            }
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\n"));
        }
        let good = asked(SERVICE);
        for bad in [
            asked("upnp:rootdevice"),
            good.replace("MX: 3\r\n", ""),
            good.replace("ssdp:discover", "ssdp:what"),
            good.replace("M-SEARCH", "NOTIFY"),
            String::new(),
        ] {
            assert_eq!(search(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(search(&[0xff, 0xfe]), None);
        let patient = search(good.replace("MX: 3", "MX: 86400").as_bytes()).unwrap();
        assert_eq!(patient.within, DELAY_MAX);
    }
}
