// SPDX-License-Identifier: GPL-3.0-or-later
//! `tablao up`, `tablao manager`, `tablao server`: the processes that hold journals.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use clap::Args;
use tablao_agent::WarmLimits;
use tablao_net::{
    node::{Node, NodeOptions, Role},
    serve::{self, Served},
};

use super::warm::Warm;
use crate::exit::{Code, Exit};

/// Where data lies and where to listen.
#[derive(Args)]
struct Place {
    /// The data directory; made when it is new.
    #[arg(long, value_name = "DIR", default_value = "tablao-data")]
    data: PathBuf,
    /// Address to listen on; else what the configuration says (127.0.0.1:8080). Anything but
    /// loopback is open to everybody who can reach it.
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Stop in order when standard input ends: for a program that starts a farm of its own and
    /// must not leave it behind.
    #[arg(long)]
    until_stdin_closes: bool,
}

/// Run a whole farm on this machine: a Manager with the dashboard, and workers.
///
/// Ctrl-C ends it in order; tasks that run are given back and go on at the next start.
///
/// Example: tablao up --data /srv/farm --workers 2
#[derive(Args)]
pub(crate) struct Up {
    #[command(flatten)]
    place: Place,
    /// How many workers to run beside the Manager.
    #[arg(long, value_name = "N", default_value_t = 1)]
    workers: u32,
    #[command(flatten)]
    warm: Warm,
}

/// The workers beside a Manager.
#[derive(Clone, Default)]
struct Beside {
    count: u32,
    warm: WarmLimits,
}

/// Run a Manager, alone or below a Server. Its workers are started with `tablao worker`.
///
/// Example: tablao manager --data /srv/farm --listen 192.168.1.10:8080
#[derive(Args)]
pub(crate) struct Manager {
    #[command(flatten)]
    place: Place,
    /// The Server to link to. Remembered: later starts need neither this nor the token.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// The token that `tablao managers link-token` gave.
    #[arg(long, value_name = "TOKEN", requires = "server")]
    link_token: Option<String>,
}

/// Run the Server alone; Managers link to it.
///
/// Example: tablao server --data /srv/server --listen 192.168.1.2:8080
#[derive(Args)]
pub(crate) struct Server {
    #[command(flatten)]
    place: Place,
}

impl Up {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let beside = Beside {
            count: self.workers,
            warm: self.warm.limits(),
        };
        run(&self.place, Role::Manager, &beside, None)
    }
}

impl Manager {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let link = self.server.map(|server| (server, self.link_token));
        run(&self.place, Role::Manager, &Beside::default(), link)
    }
}

impl Server {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        run(&self.place, Role::Server, &Beside::default(), None)
    }
}

fn run(
    place: &Place,
    role: Role,
    workers: &Beside,
    link: Option<(String, Option<String>)>,
) -> anyhow::Result<()> {
    let node = Arc::new(
        Node::start(&NodeOptions {
            data: place.data.clone(),
            role,
            link,
        })
        .map_err(|error| at_start(error, place))?,
    );
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    let served = runtime.block_on(serve_until_stopped(&node, place, workers));
    // Tasks that still run are dropped with the runtime, before the journals are closed.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    let served = served?;
    if let Served::JournalFailed(what) = served {
        return Err(Exit::new(
            Code::Failed,
            format!(
                "the journal in {} cannot be written: {what}. Nothing acknowledged is lost; mend \
                 the disk (is it full?) and start again",
                place.data.display()
            ),
        )
        .into());
    }
    node.close();
    Ok(())
}

/// A full disk is the one failure that a person cures without us: it is told how.
fn at_start(error: tablao_net::Error, place: &Place) -> anyhow::Error {
    let is_full = match &error {
        tablao_net::Error::Journal(error) => error.is_storage_full(),
        tablao_net::Error::File { source, .. } | tablao_net::Error::Folder { source, .. } => {
            source.kind() == std::io::ErrorKind::StorageFull
        }
        _ => false,
    };
    // Which failure stopped the writer is known as words only.
    let perhaps = match &error {
        _ if is_full => "",
        tablao_net::Error::JournalFailed { .. } => "if the disk is full, ",
        _ => return error.into(),
    };
    let words = format!(
        "{:#}. Nothing acknowledged is lost; {perhaps}free some space for {} and start again",
        anyhow::Error::new(error),
        place.data.display()
    );
    Exit::new(Code::Failed, words).into()
}

async fn serve_until_stopped(
    node: &Arc<Node>,
    place: &Place,
    workers: &Beside,
) -> anyhow::Result<Served> {
    let in_force = node.in_force();
    let listen = (place.listen.as_deref()).unwrap_or(&in_force.config.listen);
    let listener = serve::listen(listen).await?;
    let address = listener.local_addr().context("read the address")?;
    if !address.ip().is_loopback() {
        tracing::warn!(
            %address,
            "everybody who can reach this address can submit and delete jobs; listen on a loopback \
             address, or put it behind something that asks who they are"
        );
    }
    println!(
        "Tablao listens on http://{}/ (dashboard: http://{}/app/)",
        shown(address),
        shown(address)
    );
    if in_force.config.is_first_run() {
        // Not on standard output: who starts a farm reads one line there, and may look no further.
        eprintln!(
            "No shared storage is set yet, so jobs use a folder in the data directory: right for \
             one machine. `tablao setup --url http://{}` or http://{}/app/setup sets it",
            shown(address),
            shown(address)
        );
    }
    drop(in_force);
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut running = Vec::new();
    for number in 1..=workers.count {
        let warm = workers.warm.clone();
        running.push(start_worker(place, address, number, warm, stopped.clone()));
    }
    let linked = tokio::spawn(tablao_net::link::run(Arc::clone(node), stopped.clone()));
    let until_stdin_closes = place.until_stdin_closes;
    let served = serve::serve(Arc::clone(node), listener, async move {
        tokio::select! {
            () = signal() => {}
            () = stdin_closed(), if until_stdin_closes => {}
        }
        tracing::info!("stopping");
        stop.send_replace(true);
        // Workers give their tasks back while the Manager still listens.
        for worker in running {
            let _ = worker.await;
        }
    })
    .await;
    linked.abort();
    Ok(served)
}

/// The address as a person would type it.
fn shown(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("127.0.0.1:{}", address.port())
    } else {
        address.to_string()
    }
}

fn start_worker(
    place: &Place,
    address: SocketAddr,
    number: u32,
    warm: WarmLimits,
    mut stopped: tokio::sync::watch::Receiver<bool>,
) -> tokio::task::JoinHandle<()> {
    let data = place.data.join("workers").join(number.to_string());
    let mut options = tablao_agent::Options::new(format!("http://{}", shown(address)), data);
    let host = tablao_agent::host_name();
    options.name = Some(format!("{host}-{number}"));
    options.warm = warm;
    tokio::spawn(async move {
        let shutdown = async move {
            let _ = stopped.wait_for(|stop| *stop).await;
        };
        match tablao_agent::run(options, shutdown).await {
            Ok(reason) => tracing::info!(worker = number, ?reason, "worker ended"),
            Err(error) => tracing::error!(worker = number, %error, "worker ended"),
        }
    })
}

/// Resolves when nobody can write to standard input any more. On a thread of its own: a read
/// of standard input cannot be called off, and must not hold up the runtime's end.
async fn stdin_closed() {
    let (sender, closed) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let copied = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        // If the receiver is gone the process is ending already.
        let _ = sender.send(copied);
    });
    let _ = closed.await;
}

/// Resolves when the process is asked to end.
pub(crate) async fn signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let terminate = signal(SignalKind::terminate());
        if let Ok(mut terminate) = terminate {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
