// SPDX-License-Identifier: GPL-3.0-or-later
//! What the cases stand on: real nodes that listen on real sockets, and a client that looks at
//! the bytes of every answer and holds it against the served document.
//!
//! It knows the document and HTTP; what an operation is to answer when, the areas know.

use std::{
    cell::OnceCell,
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    sync::{Arc, Mutex},
};

use base64::Engine as _;
use jsonschema::Validator;
use serde_json::{Value, json};
use tablao_net::{
    node::{Node, NodeOptions, Role},
    serve,
};
use tokio::runtime::Runtime;

use crate::{case::Reply, folder::JournalFolder, schema};

/// The nodes that an area's cases need, each started when a case first asks for it.
#[derive(Default)]
pub(crate) struct Grounds {
    manager: OnceCell<Ground>,
    server: OnceCell<Ground>,
    bare: OnceCell<Ground>,
}

impl Grounds {
    /// A Manager with a place for files.
    pub(crate) fn manager(&self) -> &Ground {
        self.manager
            .get_or_init(|| Ground::start(Role::Manager, true))
    }

    /// A Server, without workers of its own.
    pub(crate) fn server(&self) -> &Ground {
        self.server
            .get_or_init(|| Ground::start(Role::Server, false))
    }

    /// A Manager on which nothing was set up.
    pub(crate) fn bare(&self) -> &Ground {
        self.bare
            .get_or_init(|| Ground::start(Role::Manager, false))
    }
}

/// A worker's credentials.
#[derive(Clone)]
pub(crate) struct Worker {
    pub(crate) id: String,
    pub(crate) secret: String,
}

/// One node.
pub(crate) struct Ground {
    /// For what an area remembers between its cases: ids by a name.
    pub(crate) kept: Mutex<BTreeMap<&'static str, String>>,
    pub(crate) node: Arc<Node>,
    document: Value,
    schemas: Mutex<BTreeMap<String, Arc<Validator>>>,
    address: SocketAddr,
    storage: Option<tempfile::TempDir>,
    runtime: Option<Runtime>,
    _folder: JournalFolder,
}

impl Ground {
    fn start(role: Role, with_files: bool) -> Self {
        let folder = JournalFolder::new();
        let mut config = "body_bytes_max = 20000\n".to_owned();
        let storage = with_files.then(|| tempfile::tempdir().unwrap());
        if let Some(storage) = &storage {
            config += &format!("shared_storage_path = {:?}\n", storage.path());
            config += "[shaman]\nenabled = true\n";
        }
        std::fs::write(folder.path().join("tablao.toml"), config).unwrap();
        let options = NodeOptions {
            data: folder.path().to_owned(),
            role,
            link: None,
        };
        let node = Arc::new(Node::start(&options).unwrap());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(serve::listen("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(serve::serve(
            Arc::clone(&node),
            listener,
            std::future::pending(),
        ));
        let mut ground = Self {
            kept: Mutex::default(),
            node,
            document: Value::Null,
            schemas: Mutex::default(),
            address,
            storage,
            runtime: Some(runtime),
            _folder: folder,
        };
        ground.document = ground.get_json("/api/v3/openapi3.json");
        ground
    }

    /// The JSON of an address outside the document.
    pub(crate) fn get_json(&self, path: &str) -> Value {
        let raw = self.exchange("GET", path, &[], b"");
        assert_eq!(raw.status, 200, "{path}");
        serde_json::from_slice(&raw.body).unwrap()
    }

    /// A path in the shared storage.
    pub(crate) fn stored(&self, relative: &str) -> PathBuf {
        self.storage.as_ref().unwrap().path().join(relative)
    }

    /// A call of this operation, to be filled and sent.
    pub(crate) fn call(&self, operation: &'static str) -> Call<'_> {
        Call {
            ground: self,
            operation,
            parts: Vec::new(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// Remembers an id, made the first time that somebody asks for it.
    pub(crate) fn keep(&self, name: &'static str, make: impl FnOnce() -> String) -> String {
        let known = self.kept.lock().unwrap().get(name).cloned();
        known.unwrap_or_else(|| {
            let made = make();
            self.kept.lock().unwrap().insert(name, made.clone());
            made
        })
    }

    /// A new worker that has not signed on.
    pub(crate) fn registered(&self, name: &str) -> Worker {
        let secret = "5e".repeat(32);
        let body = json!({
            "name": name, "secret": secret, "platform": "linux",
            "supported_task_types": ["misc", "blender", "ffmpeg", "file-management"],
        });
        let answer = self.call("registerWorker").json(&body).send();
        let id = answer.json()["uuid"].as_str().unwrap().to_owned();
        Worker { id, secret }
    }

    /// A new worker that takes tasks.
    pub(crate) fn awake(&self, name: &str) -> Worker {
        let worker = self.registered(name);
        self.call("signOn").by(&worker).json(&sign_on(name)).send();
        let body = json!({ "status": "awake" });
        self.call("workerStateChanged")
            .by(&worker)
            .json(&body)
            .send();
        worker
    }

    /// A new job of a few short tasks.
    pub(crate) fn job(&self, name: &str) -> String {
        let answer = self.call("submitJob").json(&echo(name)).send();
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// A task that this worker was given, in a job of its own.
    pub(crate) fn task(&self, worker: &Worker) -> String {
        let answer = self.call("scheduleTask").by(worker).send();
        assert_eq!(answer.code, 200, "there is a task for the worker");
        answer.json()["uuid"].as_str().unwrap().to_owned()
    }

    /// Opens a connection and sends these bytes, for requests that are not finished.
    pub(crate) fn begin(&self, head: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream
    }

    fn exchange(&self, method: &str, path: &str, headers: &[(String, String)], body: &[u8]) -> Raw {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: farm\r\nConnection: close\r\n");
        if !body.is_empty() || !matches!(method, "GET") {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        let mut stream = self.begin(&(head + "\r\n"));
        // A node that has heard enough may have closed its side already.
        let _ = stream.write_all(body);
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        Raw::parse(&bytes)
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        self.node.close();
        // Waits for what still runs, so that the folder is read when nobody writes to it.
        drop(self.runtime.take());
    }
}

/// An echo job's submission.
pub(crate) fn echo(name: &str) -> Value {
    json!({
        "name": name, "type": "echo-sleep-test", "submitter_platform": "linux", "priority": 50,
        "settings": { "message": "hello", "sleep_duration_seconds": 0, "sleep_repeats": 2 },
        "metadata": { "project": "Night Shift" },
    })
}

/// What a Flamenco worker says when it signs on.
pub(crate) fn sign_on(name: &str) -> Value {
    json!({
        "name": name, "software_version": "3.9",
        "supported_task_types": ["misc", "blender", "ffmpeg", "file-management"],
    })
}

/// A request in the making.
pub(crate) struct Call<'a> {
    ground: &'a Ground,
    operation: &'static str,
    parts: Vec<String>,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Call<'_> {
    /// The next variable part of the address.
    pub(crate) fn at(mut self, part: impl ToString) -> Self {
        self.parts.push(part.to_string());
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With a worker's credentials.
    pub(crate) fn by(self, worker: &Worker) -> Self {
        let pair = format!("{}:{}", worker.id, worker.secret);
        let pair = base64::engine::general_purpose::STANDARD.encode(pair);
        self.header("Authorization", &format!("Basic {pair}"))
    }

    /// With a body of this type.
    pub(crate) fn body(mut self, kind: &str, bytes: &[u8]) -> Self {
        self.body = bytes.to_vec();
        self.header("Content-Type", kind)
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string().as_bytes())
    }

    /// With a body that is larger than the node takes.
    pub(crate) fn too_large(self) -> Self {
        let body = json!({ "name": "x".repeat(30_000) });
        self.json(&body)
    }

    /// With a body that no operation takes.
    pub(crate) fn broken(self) -> Self {
        self.body("application/json", b"{\"broken")
    }

    /// Sends it, looks at every byte of the answer, and holds it against the document.
    pub(crate) fn send(self) -> Reply {
        let ground = self.ground;
        let (path, method, told) = operation(&ground.document, self.operation);
        let mut parts = self.parts.iter();
        let path = path.split('/').map(|part| {
            if part.starts_with('{') {
                parts.next().map_or("", String::as_str)
            } else {
                part
            }
        });
        let path = Vec::from_iter(path).join("/");
        let raw = ground.exchange(&method.to_uppercase(), &path, &self.headers, &self.body);
        let code = raw.status;
        let said = String::from_utf8_lossy(&raw.body).into_owned();
        let at = format!("{} {code} {said}", self.operation);
        let answer = told["responses"].get(code.to_string());
        let answer = answer.unwrap_or_else(|| panic!("{at}: this code is not in the document"));
        let answer = schema::resolved(&ground.document, answer);
        let kind = raw.header("content-type");
        let Some(content) = answer["content"].as_object() else {
            assert!(raw.body.is_empty(), "{at}: a body that is not documented");
            assert_eq!(kind, None, "{at}: an empty answer has no type");
            if code == 204 {
                assert_eq!(raw.header("content-length"), None, "{at}");
            }
            return Reply::new(self.operation, code, Value::Null, raw.body);
        };
        let kind = kind.unwrap_or_else(|| panic!("{at}: it has no type"));
        let essence = kind.split(';').next().unwrap();
        let of_kind = content.get(essence);
        let of_kind = of_kind.unwrap_or_else(|| panic!("{at}: {kind} is not in the document"));
        if essence != "application/json" {
            return Reply::new(self.operation, code, Value::Null, raw.body);
        }
        assert_eq!(kind, "application/json", "{at}: as Flamenco says it");
        let value: Value =
            serde_json::from_slice(&raw.body).unwrap_or_else(|error| panic!("{at}: {error}"));
        assert!(
            !schema::has_null(&value),
            "{at}: a null, which the add-on refuses"
        );
        let validator = ground.validator(&of_kind["schema"]);
        let wrong: Vec<String> = validator
            .iter_errors(&value)
            .map(|it| it.to_string())
            .collect();
        assert!(wrong.is_empty(), "{at}: {wrong:?}");
        if code >= 400 && value.get("code").is_some() {
            assert_eq!(value["code"], code, "{at}");
        }
        if code >= 400 && code != 423 {
            assert_ne!(value["message"], "", "{at}: it has to say why");
        }
        Reply::new(self.operation, code, value, raw.body)
    }
}

impl Ground {
    fn validator(&self, of: &Value) -> Arc<Validator> {
        let mut known = self.schemas.lock().unwrap();
        let made = (known.entry(of.to_string()))
            .or_insert_with(|| Arc::new(schema::validator(&self.document, of)));
        Arc::clone(made)
    }
}

/// Address, method and description of an operation.
fn operation<'a>(document: &'a Value, id: &str) -> (&'a str, &'a str, &'a Value) {
    (document["paths"].as_object().unwrap().iter())
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().iter();
            methods.map(move |(method, told)| (path.as_str(), method.as_str(), told))
        })
        .find(|(_, _, told)| told["operationId"] == id)
        .unwrap_or_else(|| panic!("{id} is no operation"))
}

/// An answer as it came.
struct Raw {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Raw {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(bytes)));
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap();
        let status = status.strip_prefix("HTTP/1.1 ").unwrap()[..3]
            .parse()
            .unwrap();
        let headers = lines
            .map(|line| line.split_once(':').unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let raw = Self {
            status,
            headers,
            body: bytes[end + 4..].to_vec(),
        };
        assert_eq!(raw.header("transfer-encoding"), None, "answers are whole");
        assert_eq!(raw.header("www-authenticate"), None, "nobody is challenged");
        raw
    }

    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}
