// SPDX-License-Identifier: GPL-3.0-or-later
//! A Server and a Manager in one test process, speaking over real sockets, and copies of their
//! data directories as a crash would leave them.
//!
//! Nothing runs a task here: what matters is what goes over the link and what lies on the disk.
#![allow(unreachable_pub, missing_docs, clippy::unwrap_used)]

#[path = "../../../tests/journal_reader/folder.rs"]
#[allow(dead_code, reason = "shared with tests that use other parts of it")]
mod folder;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

pub(crate) use folder::JournalFolder;
use serde_json::{Value, json};
use tablao_core::{Event, ManagerId, Recorded};
use tablao_journal::{FileStore, Lsn, Reader, RealFiles, Verified};
use tablao_net::{
    data_dir::{CONTROL_JOURNAL, MIRROR_OF_SERVER, MIRRORS, SITE_JOURNAL},
    link::{self, Hello, hex_id},
    node::{Node, NodeOptions, Role},
    records, serve,
};
use tokio::{runtime::Runtime, sync::watch};

/// What came back.
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Answer {
    /// What an answer of refusal says.
    pub fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }
}

/// Nobody knows when another thread is done: looks until it is.
pub fn until<T>(what: &str, mut seen: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = seen() {
            return found;
        }
        assert!(
            started.elapsed() < Duration::from_secs(120),
            "waited in vain for {what}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

fn node(folder: &Path, role: Role, link: Option<(String, Option<String>)>) -> Arc<Node> {
    let data = folder.to_owned();
    Arc::new(Node::start(&NodeOptions { data, role, link }).unwrap())
}

/// A data directory as a crash at this moment leaves it.
pub(crate) fn image(folder: &Path) -> JournalFolder {
    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap().flatten() {
            let target = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                copy(&entry.path(), &target);
            } else if entry.file_name() != "lock" {
                std::fs::copy(entry.path(), target).unwrap();
            }
        }
    }
    let to = JournalFolder::new();
    copy(folder, to.path());
    // Checkpoints are a cache, and a copy of an open one is none.
    let _ = std::fs::remove_dir_all(to.path().join("checkpoints"));
    to
}

/// A running Server.
pub struct Above {
    pub node: Arc<Node>,
    pub url: String,
    pub(crate) folder: JournalFolder,
    runtime: Runtime,
}

impl Above {
    pub fn new() -> Self {
        Self::on(JournalFolder::new())
    }

    pub(crate) fn on(folder: JournalFolder) -> Self {
        let node = node(folder.path(), Role::Server, None);
        let runtime = runtime();
        let listener = runtime.block_on(serve::listen("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let served = serve::serve(Arc::clone(&node), listener, std::future::pending());
        runtime.spawn(served);
        Self {
            node,
            url,
            folder,
            runtime,
        }
    }

    pub fn token(&self) -> String {
        let answer = self.post("/api/farm/v1/link-tokens", &Value::Null);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body["token"].as_str().unwrap().to_owned()
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.call("POST", path, body)
    }

    /// Posts as a Manager with its key.
    pub fn post_as(&self, manager: ManagerId, key: &str, path: &str, body: Vec<u8>) -> Answer {
        let request = self.request("POST", path, body).bearer_auth(key);
        self.send(request.header("tablao-manager", manager.to_string()))
    }

    pub fn call(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.send(self.request(method, path, body.to_string().into_bytes()))
    }

    fn request(&self, method: &str, path: &str, body: Vec<u8>) -> reqwest::RequestBuilder {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        reqwest::Client::new()
            .request(method, format!("{}{path}", self.url))
            .header("content-type", "application/json")
            .body(body)
    }

    fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        self.runtime.block_on(async {
            let answer = request.send().await.unwrap();
            let status = answer.status().as_u16();
            let bytes = answer.bytes().await.unwrap();
            let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
            Answer { status, body }
        })
    }

    /// Greets as a Manager would.
    pub fn greet(&self, hello: &Hello) -> Answer {
        let body = serde_json::to_vec(hello).unwrap();
        let path = "/api/farm/v1/replication/hello";
        self.post_as(hello.manager, &hello.key, path, body)
    }

    /// Submits a job that renders these frames, one a task. Returns its id.
    pub fn submit(&self, frames: &str) -> String {
        let body = json!({
            "name": "placed", "type": "simple-blender-render", "submitter_platform": "linux",
            "settings": {
                "frames": frames, "chunk_size": 1, "render_output_root": "/render",
                "add_path_components": 0, "render_output_path": "/render/sh010/######",
                "blendfile": "/shared/sh010.blend", "fps": 24, "format": "PNG",
                "image_file_extension": ".png", "has_previews": false, "scene": "Scene",
            },
        });
        let answer = self.post("/api/v3/jobs", &body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body["id"].as_str().unwrap().to_owned()
    }

    pub fn control(&self) -> Vec<Recorded> {
        read(&self.folder.path().join(CONTROL_JOURNAL))
    }

    pub fn mirror(&self, manager: ManagerId) -> Verified {
        verify(&self.folder.path().join(MIRRORS).join(manager.to_string()))
    }

    /// Ends in order; the data directory stays.
    pub(crate) fn end(self) -> JournalFolder {
        drop(self.runtime);
        self.node.close();
        self.folder
    }
}

/// A running Manager; its link runs when told to.
pub struct Below {
    pub node: Arc<Node>,
    pub(crate) folder: JournalFolder,
    runtime: Runtime,
    stop: watch::Sender<bool>,
}

impl Below {
    pub fn new(above: &Above) -> Self {
        let link = (above.url.clone(), Some(above.token()));
        Self::on(JournalFolder::new(), Some(link))
    }

    /// One that was linked before, on its data directory.
    pub(crate) fn again(folder: JournalFolder, above: &Above) -> Self {
        Self::on(folder, Some((above.url.clone(), None)))
    }

    pub(crate) fn on(folder: JournalFolder, link: Option<(String, Option<String>)>) -> Self {
        let node = node(folder.path(), Role::Manager, link);
        Self {
            node,
            folder,
            runtime: runtime(),
            stop: watch::channel(false).0,
        }
    }

    /// Opens the line.
    pub fn link(&self) {
        let node = Arc::clone(&self.node);
        self.runtime.spawn(link::run(node, self.stop.subscribe()));
    }

    pub fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// What this Manager would greet with.
    pub fn hello(&self, token: Option<String>) -> Hello {
        let site = self.node.site.as_ref().unwrap();
        Hello {
            manager: self.node.manager(),
            name: "hand".to_owned(),
            link_token: token,
            key: "k".repeat(64),
            site_journal: hex_id(site.journal().id),
            site_next: site.view().at().next().get(),
            build: "test".to_owned(),
        }
    }

    pub fn site(&self) -> Vec<Recorded> {
        read(&self.folder.path().join(SITE_JOURNAL))
    }

    pub fn site_end(&self) -> Verified {
        verify(&self.folder.path().join(SITE_JOURNAL))
    }

    /// Whole batches of the site journal, from this position on.
    pub fn batches(&self, from: u64) -> Vec<u8> {
        let view = self.node.site.as_ref().unwrap().view();
        let up_to = Lsn::new(view.at().get());
        let raw = view.reader.read_raw(Lsn::new(from), up_to, 1 << 20);
        raw.unwrap().bytes
    }

    /// Ends in order; the data directory stays.
    pub(crate) fn end(self) -> JournalFolder {
        self.stop.send_replace(true);
        drop(self.runtime);
        self.node.close();
        self.folder
    }
}

/// Waits until the Manager has settled everything that the Server asks of it, the Server has
/// everything of the Manager's journal and has noted so, and the Manager has everything of the
/// Server's.
pub fn wait_until_level(above: &Above, below: &Below) {
    let manager = below.node.manager();
    let server = above.node.manager();
    until("Server and Manager to be level", || {
        let (end, settled) = {
            let model = below.node.site.as_ref().unwrap().model();
            (model.farm().position(), model.farm().settled())
        };
        let asked = above
            .control()
            .into_iter()
            .rev()
            .find(|recorded| match &recorded.event {
                Event::JobPlaced(facts) => facts.manager == manager,
                Event::RequestAccepted(facts) => facts.manager == manager,
                _ => false,
            });
        let noted = {
            let control = above.node.control.model();
            control.farm().managers().get(&manager)?.origin
        };
        let copy = below
            .folder
            .path()
            .join(MIRROR_OF_SERVER)
            .join(server.to_string());
        let copied = try_reader(&copy)?.verify().ok()?.next;
        let mirrored = above.node.mirrors.get(manager)?.next();
        let level = noted == end
            && mirrored == end.next().get()
            && asked.is_none_or(|asked| asked.lsn <= settled)
            && below.node.link.trouble().is_none()
            && copied.get() == above.node.control.view().at().next().get();
        level.then_some(())
    });
    let mirror = above.mirror(manager);
    let site = below.site_end();
    assert_eq!((mirror.next, mirror.chain), (site.next, site.chain));
}

/// How many records of the site journal settle something, and those of them that refuse.
pub fn settled(records: &[Recorded]) -> (usize, usize) {
    let mut count = (0, 0);
    for recorded in records {
        if let Event::RequestSettled(facts) = &recorded.event {
            count.0 += 1;
            count.1 += usize::from(facts.refused.is_some());
        }
    }
    count
}

fn try_reader(folder: &Path) -> Option<Reader> {
    let files: Arc<dyn FileStore> = Arc::new(RealFiles::existing(folder));
    Reader::open(files).ok()
}

pub fn verify(folder: &Path) -> Verified {
    try_reader(folder).unwrap().verify().unwrap()
}

pub fn read(folder: &Path) -> Vec<Recorded> {
    let reader = try_reader(folder).unwrap();
    let all = reader.records(Lsn::FIRST).unwrap();
    all.filter_map(|record| records::read(&record.unwrap()).unwrap())
        .collect()
}
