// SPDX-License-Identifier: GPL-3.0-or-later
//! The connection to the MQTT broker: keeps it up, and takes over what waits for it.
//!
//! MQTT 5, at least once, not retained. A broker that is away is tried again after a longer and
//! longer pause; the farm does not notice.

use std::{sync::Arc, time::Duration};

use rumqttc::{
    Outgoing, Transport,
    v5::{
        AsyncClient, Event, EventLoop, MqttOptions,
        mqttbytes::{QoS, v5::Packet},
    },
};

use super::mqtt_queue::Queue;
use crate::config::Mqtt;

const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Messages on their way to the broker at a time.
const SENT_MAX: usize = 64;
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// A connection that held this long was a good one: the next failure is a new trouble.
const HELD_WELL: Duration = Duration::from_secs(60);
const PORT: u16 = 1883;

/// What is wrong with a broker's address, if anything is.
pub(crate) fn check(settings: &Mqtt) -> Result<(), String> {
    options(settings).map(|_| ())
}

/// How the library is to connect.
fn options(settings: &Mqtt) -> Result<MqttOptions, String> {
    let broker = &settings.broker;
    let wrong = || format!("{broker:?} is no address of a broker");
    let url = reqwest::Url::parse(broker).map_err(|_| wrong())?;
    let host = url.host_str().filter(|host| !host.is_empty());
    let host = host.ok_or_else(wrong)?;
    let mut options = match url.scheme() {
        "tcp" | "mqtt" => {
            let port = url.port().unwrap_or(PORT);
            MqttOptions::new(&settings.client_id, host, port)
        }
        "ws" => {
            let mut options =
                MqttOptions::new(&settings.client_id, url.as_str(), url.port().unwrap_or(80));
            options.set_transport(Transport::Ws);
            options
        }
        _ => return Err(wrong()),
    };
    options.set_keep_alive(KEEP_ALIVE).set_clean_start(true);
    if !settings.username.is_empty() {
        options.set_credentials(&settings.username, &settings.password);
    }
    Ok(options)
}

/// Publishes what waits, for as long as the process runs.
pub(super) async fn run(settings: Mqtt, queue: Arc<Queue>) {
    let options = match options(&settings) {
        Ok(options) => options,
        Err(why) => {
            tracing::error!(why, "no events are published over MQTT");
            return;
        }
    };
    let mut pause = PAUSE_FIRST;
    let mut is_told = false;
    loop {
        // A new one each time: what the old one still held is in the queue.
        let (client, events) = AsyncClient::new(options.clone(), SENT_MAX);
        let mut connected = None;
        let sending = send(client, &settings, &queue);
        let why = tokio::select! {
            why = attend(events, &settings, &queue, &mut connected) => why,
            () = sending => "the library ended".to_owned(),
        };
        queue.take_back();
        let held = connected.map_or(Duration::ZERO, |at: tokio::time::Instant| at.elapsed());
        if held >= HELD_WELL {
            (pause, is_told) = (PAUSE_FIRST, false);
        }
        if connected.is_some() || !is_told {
            tracing::warn!(
                broker = settings.broker,
                why,
                "the MQTT broker is away; events wait for it"
            );
            is_told = true;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Hands what waits to the library. Ends when the library does.
async fn send(client: AsyncClient, settings: &Mqtt, queue: &Queue) {
    loop {
        let letter = queue.next(SENT_MAX).await;
        let topic = format!("{}{}", settings.topic_prefix, letter.topic);
        let published = client.publish(topic, QoS::AtLeastOnce, false, letter.body);
        if published.await.is_err() {
            return;
        }
    }
}

/// Keeps the connection going until it breaks; returns why it did.
async fn attend(
    mut events: EventLoop,
    settings: &Mqtt,
    queue: &Queue,
    connected: &mut Option<tokio::time::Instant>,
) -> String {
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                *connected = Some(tokio::time::Instant::now());
                let dropped = queue.take_dropped();
                if dropped > 0 {
                    tracing::warn!(
                        broker = settings.broker,
                        dropped,
                        "the MQTT broker is there again; the oldest events it missed are lost"
                    );
                } else {
                    tracing::info!(broker = settings.broker, "events are published over MQTT");
                }
            }
            Ok(Event::Incoming(Packet::PubAck(acknowledged))) => {
                queue.acknowledge(acknowledged.pkid);
            }
            Ok(Event::Outgoing(Outgoing::Publish(packet))) => queue.went_as(packet),
            Ok(_) => {}
            Err(error) => return error.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A mistyped address is told when the file is read, not found out from silence.
    #[test]
    fn a_broker_that_cannot_be_is_refused() {
        let checked = |broker: &str| {
            check(&Mqtt {
                enabled: true,
                broker: broker.to_owned(),
                ..Mqtt::default()
            })
        };
        for good in [
            "tcp://farm:1883",
            "tcp://farm",
            "mqtt://[::1]:1883",
            "ws://farm:9001/mqtt",
        ] {
            assert_eq!(checked(good), Ok(()), "{good}");
        }
        for bad in [
            "farm:1883",
            "tcp://",
            "http://farm",
            "mqtts://farm",
            "tcp://farm:port",
        ] {
            let refused = checked(bad);
            assert!(
                refused.as_ref().is_err_and(|why| why.contains(bad)),
                "{refused:?}"
            );
        }
    }
}
