// SPDX-License-Identifier: GPL-3.0-or-later
//! Part `feed`: from a durable record to its bytes at those who watch the farm, as the dashboard
//! does, over Server-Sent Events; beside it a bare server that sends as many bytes to as many.
//!
//! The clock of a record starts when an observer in the same process learns that it is durable,
//! and ends when a subscriber has read the event to its end. Load, server and subscribers share
//! the machine.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tablao_core::{Actor, Event, Request, Via, decide::Asker};
use tablao_net::{
    engine::{Ask, Batch},
    node::{Node, NodeOptions, Role},
    serve,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{broadcast, mpsc},
    task::JoinSet,
};

use crate::{
    Error, Progress, Report, Size,
    http::request,
    latency::Latencies,
    load, place,
    scripted::{self, Plan},
};

/// A pause between two changes: each is to be told on its own, none to stand in a queue.
const BETWEEN: Duration = Duration::from_millis(5);
/// The priority that the job gets and loses.
const PRIORITIES: [i32; 2] = [51, 50];

/// When things happened, in order.
type Moments = Arc<Mutex<Vec<Instant>>>;

/// Measures it.
pub(crate) fn run(size: Size, progress: Progress<'_>) -> Result<Report, Error> {
    let subscribers = size.pick(50, 3);
    let changes = size.pick(1_000, 20);
    let mut report = Report::new();
    report.dimension("subscribers", subscribers);
    report.dimension("changes", changes);
    report.dimension("ms_between", BETWEEN.as_millis() as u64);
    report.dimension("sync", "every change");
    let folder = place::scratch("feed")?;
    let node = Node::start(&NodeOptions {
        data: folder.path().to_owned(),
        role: Role::Manager,
        link: None,
    });
    let node = Arc::new(node.map_err(unsound)?);
    let server = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Error::system("start the runtime"))?;
    let client = load::runtime()?;

    progress("the feed");
    let listener = server.block_on(serve::listen("127.0.0.1:0"));
    let listener = listener.map_err(unsound)?;
    let address = (listener.local_addr()).map_err(Error::system("listen"))?;
    server.spawn(serve::serve(
        Arc::clone(&node),
        listener,
        std::future::pending(),
    ));
    let durable = observe(&node)?;
    let mut told = client.block_on(async {
        let mut watching = Watching::start(address, subscribers, changes).await?;
        let mut answered = Latencies::default();
        let engine = node
            .site
            .as_ref()
            .ok_or_else(|| unsound("it has no site"))?;
        let plan = Plan {
            number: 1,
            frames: 10,
            priority: PRIORITIES[1],
            tag: None,
        };
        let mut asks: Vec<Request> = scripted::job_requests(plan).collect();
        let job = scripted::job_id(plan.number);
        asks.extend((0..changes).map(|number| Request::SetJobPriority {
            job,
            priority: PRIORITIES[number % 2],
        }));
        for ask in asks {
            let counts = matches!(ask, Request::SetJobPriority { .. });
            let said = Instant::now();
            let ask = Ask::new(ask, Actor::anonymous(Via::Api), Asker::default());
            (node_ask(engine, ask).await)?;
            if counts {
                answered.note(said.elapsed());
                tokio::time::sleep(BETWEEN).await;
            }
        }
        Ok::<_, Error>((watching.arrivals().await?, answered))
    })?;
    let sent = (durable.lock().unwrap_or_else(PoisonError::into_inner)).clone();
    let event_bytes = told.0.bytes_each;
    let mut feed = lags(&sent, &told.0)?;

    progress("the bare server");
    let (say, _) = broadcast::channel(changes);
    let address = server.block_on(bare_server(say.clone()))?;
    let (sent, arrivals) = client.block_on(async {
        let mut watching = Watching::start(address, subscribers, changes).await?;
        let mut sent = Vec::new();
        let message: Arc<[u8]> = format!("{}\n\n", "x".repeat(event_bytes))
            .into_bytes()
            .into();
        for _ in 0..changes {
            sent.push(Instant::now());
            say.send(Arc::clone(&message)).map_err(unsound)?;
            tokio::time::sleep(BETWEEN).await;
        }
        Ok::<_, Error>((sent, watching.arrivals().await?))
    })?;
    let mut bare = lags(&sent, &arrivals)?;
    node.close();

    report.dimension("bytes_per_event", event_bytes);
    let of = "a bare loopback send of as many bytes to as many connections";
    for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
        report.figure_beside(
            format!("from durable to a subscriber, {name}"),
            feed.percentile_ms(share),
            "ms",
            bare.percentile_ms(share),
            of,
        );
    }
    let answered = &mut told.1;
    report.figure(
        "a change, asked to answered, p50",
        answered.percentile_ms(0.5),
        "ms",
    );
    Ok(report)
}

fn unsound(error: impl std::fmt::Display) -> Error {
    Error::Unsound {
        what: format!("the feed: {error}"),
    }
}

async fn node_ask(engine: &tablao_net::engine::Engine, ask: Ask) -> Result<(), Error> {
    let reply = engine.ask(ask).await.map_err(unsound)?;
    reply.map(drop).map_err(unsound)
}

/// Notes when changes of a priority become durable, on a thread of its own.
fn observe(node: &Node) -> Result<Moments, Error> {
    let site = node
        .site
        .as_ref()
        .ok_or_else(|| unsound("it has no site"))?;
    let mut events = site.view().events.subscribe();
    let moments = Moments::default();
    let noted = Arc::clone(&moments);
    std::thread::spawn(move || {
        let is_change = |batch: &Batch| {
            (batch.iter()).any(|record| matches!(record.event, Event::JobPriorityChanged(_)))
        };
        while let Ok(batch) = events.blocking_recv() {
            if is_change(&batch) {
                let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
                noted.push(Instant::now());
            }
        }
    });
    Ok(moments)
}

/// Connections that read what they are told.
struct Watching {
    readers: JoinSet<Result<Read, Error>>,
}

/// What one of them read.
struct Read {
    moments: Vec<Instant>,
    bytes: usize,
}

/// What all of them read.
struct Arrivals {
    moments: Vec<Vec<Instant>>,
    bytes_each: usize,
}

impl Watching {
    /// Connects, and waits until each connection is being told.
    async fn start(address: SocketAddr, count: usize, events: usize) -> Result<Self, Error> {
        let (begun, mut beginning) = mpsc::unbounded_channel();
        let mut readers = JoinSet::new();
        for _ in 0..count {
            readers.spawn(read(address, events, begun.clone()));
        }
        for _ in 0..count {
            if beginning.recv().await.is_none() {
                break;
            }
        }
        Ok(Self { readers })
    }

    async fn arrivals(&mut self) -> Result<Arrivals, Error> {
        let (mut moments, mut bytes) = (Vec::new(), 0);
        while let Some(read) = self.readers.join_next().await {
            let read = read.map_err(unsound)??;
            bytes += read.bytes;
            moments.push(read.moments);
        }
        let events: usize = moments.iter().map(Vec::len).sum();
        Ok(Arrivals {
            moments,
            bytes_each: bytes / events.max(1),
        })
    }
}

/// Reads a stream of messages that end with an empty line. The first one says that it has begun;
/// of a feed only changes of priorities count.
async fn read(
    address: SocketAddr,
    events: usize,
    begun: mpsc::UnboundedSender<()>,
) -> Result<Read, Error> {
    const DOING: &str = "read the feed";
    let mut stream = (TcpStream::connect(address).await).map_err(Error::system(DOING))?;
    let accept = "accept: text/event-stream\r\n";
    let ask = request("GET", "/api/farm/v1/events", accept, "");
    (stream.write_all(&ask).await).map_err(Error::system(DOING))?;
    let (mut buffer, mut read) = (
        Vec::with_capacity(1 << 16),
        Read {
            moments: Vec::with_capacity(events),
            bytes: 0,
        },
    );
    let mut is_told = false;
    while read.moments.len() < events {
        if (stream.read_buf(&mut buffer).await).map_err(Error::system(DOING))? == 0 {
            return Err(unsound("it ended"));
        }
        let now = Instant::now();
        let mut from = 0;
        while let Some(length) = crate::http::position(&buffer[from..], b"\n\n") {
            let message = &buffer[from..from + length];
            from += length + 2;
            if !is_told {
                is_told = true;
                // Whoever waits for it has met an error of another connection if it is gone.
                let _ = begun.send(());
            } else if counts(message) {
                read.moments.push(now);
                read.bytes += length;
            }
        }
        buffer.drain(..from);
    }
    Ok(read)
}

fn counts(message: &[u8]) -> bool {
    let of_feed = crate::http::position(message, b"data:").is_some();
    !of_feed || crate::http::position(message, b"JobPriorityChanged").is_some()
}

/// How long after it was sent each message was read, by each reader.
fn lags(sent: &[Instant], arrivals: &Arrivals) -> Result<Latencies, Error> {
    let mut lags = Latencies::default();
    for moments in &arrivals.moments {
        if moments.len() != sent.len() {
            let (read, sent) = (moments.len(), sent.len());
            return Err(unsound(format!("{read} of {sent} events were read")));
        }
        for (sent, read) in sent.iter().zip(moments) {
            lags.note(read.saturating_duration_since(*sent));
        }
    }
    Ok(lags)
}

/// Says hello to each connection, then whatever is to be said, as soon as it is.
async fn bare_server(say: broadcast::Sender<Arc<[u8]>>) -> Result<SocketAddr, Error> {
    let listener = TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.map_err(Error::system("listen"))?;
    let address = (listener.local_addr()).map_err(Error::system("listen"))?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut said = say.subscribe();
            tokio::spawn(async move {
                let mut going = stream.set_nodelay(true).is_ok()
                    && stream.write_all(b"hello\n\n").await.is_ok();
                while going && let Ok(message) = said.recv().await {
                    going = stream.write_all(&message).await.is_ok();
                }
            });
        }
    });
    Ok(address)
}
