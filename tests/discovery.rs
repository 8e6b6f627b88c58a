// SPDX-License-Identifier: GPL-3.0-or-later
//! Finding a Manager: a real one and real Workers on networks made for the test, where nothing
//! that they send leaves this machine.
//!
//! The tests run themselves again inside a network namespace of their own, with a cable to a
//! second one that stands for another machine.
#![cfg(target_os = "linux")]

mod farm_support;

use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use farm_support::process::{Place, Process, TABLAO};
use farm_support::{http, until, until_within};
use serde_json::Value;
use tablao_agent::discovery::{Candidate, How, search};

/// Set inside the namespace.
const INSIDE: &str = "TABLAO_TEST_NAMESPACE";
/// This machine's end of the cable, and the other machine's.
const HERE: &str = "10.77.0.1";
const THERE: &str = "10.77.0.2";

/// Runs the test of this name again, inside. Returns whether this is the inside.
fn inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let namespace = [
        "--map-root-user",
        "--net",
        "--pid",
        "--fork",
        "--kill-child",
    ];
    let may = Command::new("unshare").args(namespace).arg("true").status();
    if !may.is_ok_and(|status| status.success()) {
        println!("skipped: {test} (this system lets nobody have a network of their own)");
        return false;
    }
    let own = std::env::current_exe().expect("a test has a file");
    let status = Command::new("unshare")
        .args(namespace)
        .arg(own)
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .status();
    assert!(status.is_ok_and(|status| status.success()), "see above");
    false
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "ip {arguments}"
    );
}

/// The namespace's own loopback, and one end of a cable.
fn set_up_network() {
    ip("link set lo up");
    ip("link add cable0 type veth peer name cable1");
    ip(&format!("addr add {HERE}/24 dev cable0"));
    ip("link set cable0 up");
}

/// A Manager's place that listens where others reach it.
fn place(port: u16, configuration: &str) -> Place {
    let mut place = Place::new(configuration);
    place.address = format!("0.0.0.0:{port}");
    place
}

/// The Manager is up when it answers on this machine.
fn manager(place: &Place, port: u16) -> Process {
    let mut process = Process::start(&place.folder, "manager", &mut place.manager_command());
    until("the Manager's answer", || {
        if let Some(status) = process.ended() {
            panic!("the Manager ended with {status}");
        }
        http::get(&format!("127.0.0.1:{port}"), "/readyz").ok()
    });
    process
}

/// A Worker that nobody tells where its Manager is.
fn lost_worker(folder: &Path) -> Process {
    let mut command = Command::new(TABLAO);
    command.args(["worker", "--name", "lost", "--data"]);
    command.arg(folder.join("lost"));
    command.env_remove("TABLAO_MANAGER");
    Process::start(folder, "worker", &mut command)
}

fn remembered(folder: &Path) -> Option<String> {
    let text = fs::read(folder.join("lost").join("manager.json")).ok()?;
    let known: Value = serde_json::from_slice(&text).ok()?;
    Some(known["url"].as_str()?.to_owned())
}

fn workers(port: u16) -> Vec<Value> {
    let answer = http::get(&format!("127.0.0.1:{port}"), "/api/v3/worker-mgt/workers");
    let answer = answer.expect("an answer").json();
    answer["workers"].as_array().expect("a list").clone()
}

/// A Worker on another machine, told nothing, must find the farm, and at an address that leads
/// there from where it is.
#[test]
fn a_worker_on_another_machine_finds_the_manager() {
    if !inside("a_worker_on_another_machine_finds_the_manager") {
        return;
    }
    set_up_network();
    let place = place(9090, "");
    let mut manager = manager(&place, 9090);
    // The other machine: it waits for its end of the cable before it starts its Worker.
    let script = format!(
        "touch up && until ip link show cable1 2>/dev/null; do sleep 0.05; done && \
         ip link set lo up && ip addr add {THERE}/24 dev cable1 && ip link set cable1 up && \
         exec {TABLAO} worker --name lost --data lost"
    );
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", &script]);
    command
        .current_dir(&place.folder)
        .env_remove("TABLAO_MANAGER");
    let mut worker = Process::start(&place.folder, "worker", &mut command);
    until("the other machine", || {
        fs::metadata(place.folder.join("up")).ok()
    });
    ip(&format!("link set cable1 netns {}", worker.id()));
    let found = until("a Manager's address", || remembered(&place.folder));
    assert_eq!(found, format!("http://{HERE}:9090"));
    until("its status", || {
        let known = workers(9090);
        known.iter().find(|one| one["status"] == "awake").cloned()
    });
    assert!(worker.stop().success());
    assert!(manager.stop().success());
}

/// Each way alone leads to the Manager, and its goodbye is heard: a studio may allow only one.
#[test]
fn each_way_alone_finds_the_manager() {
    if !inside("each_way_alone_finds_the_manager") {
        return;
    }
    set_up_network();
    let hearing = hear_announcements();
    let place = place(9090, "manager_name = \"Färm <1>\"\n");
    let mut manager = manager(&place, 9090);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for how in [How::Ssdp, How::DnsSd] {
        let found = runtime.block_on(async {
            let mut candidates = search(how);
            let found = tokio::time::timeout(Duration::from_secs(60), candidates.recv());
            found
                .await
                .expect("an answer within a minute")
                .expect("a search goes on")
        });
        assert!(
            [HERE, "127.0.0.1"].iter().any(|ip| found == at(ip, how)),
            "{found:?}"
        );
    }
    let description = http::get("127.0.0.1:9090", "/upnp/description.xml").expect("an answer");
    assert!(description.text().contains("Färm &lt;1&gt; (Tablao"));
    let mut heard = announcements(&hearing, "NTS: ssdp:alive");
    assert!(manager.stop().success());
    heard.extend(announcements(&hearing, "NTS: ssdp:byebye"));
    let usn = "USN: uuid:aa80bc5f-d0af-46b8-8630-23bd7e80ec4d::urn:flamenco:manager:0\r\n";
    assert!(heard.iter().all(|text| text.contains(usn)), "{heard:?}");
}

fn at(ip: &str, how: How) -> Candidate {
    let url = format!("http://{ip}:9090");
    Candidate { url, how }
}

fn hear_announcements() -> UdpSocket {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None);
    let socket = socket.expect("a socket");
    socket.set_reuse_address(true).expect("port 1900 is shared");
    let everywhere: std::net::SocketAddr = "0.0.0.0:1900".parse().expect("an address");
    socket.bind(&everywhere.into()).expect("port 1900");
    let group = "239.255.255.250".parse().expect("an address");
    let here = HERE.parse().expect("an address");
    socket.join_multicast_v4(&group, &here).expect("the group");
    socket.into()
}

/// What is announced up to and with something.
fn announcements(hearing: &UdpSocket, last: &str) -> Vec<String> {
    let mut heard: Vec<String> = Vec::new();
    let mut datagram = [0; 2048];
    hearing
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("a timeout");
    while !heard.last().is_some_and(|text| text.contains(last)) {
        let (length, _) = hearing.recv_from(&mut datagram).expect(last);
        let text = String::from_utf8_lossy(&datagram[..length]).into_owned();
        if text.starts_with("NOTIFY") {
            heard.push(text);
        }
    }
    heard
}

/// A Worker must not become another Manager's because its own is down or has moved: it waits, says
/// whom it met, and follows its own to a new address with its old identity.
#[test]
fn a_worker_stays_with_its_manager_and_follows_it() {
    if !inside("a_worker_stays_with_its_manager_and_follows_it") {
        return;
    }
    set_up_network();
    let mut own = place(9090, "");
    let other = place(9091, "");
    let mut first = manager(&own, 9090);
    let mut worker = lost_worker(&own.folder);
    until("its Manager", || remembered(&own.folder));
    let known = until("its registration", || workers(9090).pop());
    until("its status", || {
        (workers(9090)[0]["status"] == "awake").then_some(())
    });
    assert!(worker.stop().success());
    assert!(first.stop().success());

    let mut stranger = manager(&other, 9091);
    let mut worker = lost_worker(&own.folder);
    until("a word on the stranger", || {
        worker
            .said()
            .contains("does not know this Worker")
            .then_some(())
    });
    own.address = "0.0.0.0:9092".to_owned();
    let mut moved = manager(&own, 9092);
    until_within(Duration::from_secs(120), "its Manager", || {
        (workers(9092)[0]["status"] == "awake").then_some(())
    });
    assert_eq!(workers(9092).len(), 1);
    assert_eq!(workers(9092)[0]["id"], known["id"]);
    assert_eq!(workers(9091).len(), 0, "it registered elsewhere");
    for process in [&mut worker, &mut moved, &mut stranger] {
        assert!(process.stop().success());
    }
}

/// Ports of UDP sockets in this namespace.
fn datagram_ports() -> Vec<u16> {
    let tables = ["/proc/self/net/udp", "/proc/self/net/udp6"];
    let lines = tables.map(|table| fs::read_to_string(table).unwrap_or_default());
    let ports = lines.iter().flat_map(|table| table.lines().skip(1));
    let ports = ports.filter_map(|line| {
        let local = line.split_whitespace().nth(1)?;
        u16::from_str_radix(local.rsplit(':').next()?, 16).ok()
    });
    ports.collect()
}

/// Switched off, or listening where nobody else could come, a Manager has no socket on the
/// network: that is what switching it off is for.
#[test]
fn switched_off_there_is_no_socket() {
    if !inside("switched_off_there_is_no_socket") {
        return;
    }
    set_up_network();
    let off = place(9090, "[discovery]\nenabled = false\n");
    let mut alone = place(9091, "");
    alone.address = "127.0.0.1:9091".to_owned();
    let mut running = [manager(&off, 9090), manager(&alone, 9091)];
    let description = http::get("127.0.0.1:9090", "/upnp/description.xml").expect("an answer");
    assert_eq!(description.status, 404);
    assert_eq!(datagram_ports(), Vec::<u16>::new());
    // The same look sees the sockets of one that is switched on.
    let on = place(9093, "");
    let mut on_process = manager(&on, 9093);
    until("its sockets", || {
        let ports = datagram_ports();
        (ports.contains(&1900) && ports.contains(&5353)).then_some(())
    });
    for process in running.iter_mut().chain([&mut on_process]) {
        assert!(process.stop().success());
    }
}
