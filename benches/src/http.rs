// SPDX-License-Identifier: GPL-3.0-or-later
//! A keep-alive HTTP/1.1 connection that costs as little as it can: the load shares the machine
//! with what it loads.
//!
//! Requests are bytes that the caller has made; of an answer only status and body are looked at.
//! It understands what our own server answers (a length, no chunks), nothing more.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::Error;

/// A connection.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    path: &'static str,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

impl Answer<'_> {
    /// The answer, if it has this status.
    pub(crate) fn expect(self, path: &str, status: u16) -> Result<Self, Error> {
        if self.status == status {
            return Ok(self);
        }
        let words = String::from_utf8_lossy(self.body);
        Err(Error::Answer {
            path: path.to_owned(),
            status: self.status,
            body: words.chars().take(300).collect(),
        })
    }
}

/// The bytes of a request. `headers` are whole lines.
pub(crate) fn request(method: &str, path: &str, headers: &str, body: &str) -> Vec<u8> {
    request_bytes(method, path, headers, "application/json", body.as_bytes())
}

/// The same with a body of any type.
pub(crate) fn request_bytes(
    method: &str,
    path: &str,
    headers: &str,
    kind: &str,
    body: &[u8],
) -> Vec<u8> {
    let headers = match body {
        [] => headers.to_owned(),
        _ => format!("{headers}content-type: {kind}\r\n"),
    };
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: farm\r\n{headers}content-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

impl Connection {
    /// Connects.
    pub(crate) async fn open(address: SocketAddr) -> Result<Self, Error> {
        let stream = TcpStream::connect(address)
            .await
            .map_err(Error::system("connect to the measured server"))?;
        (stream.set_nodelay(true)).map_err(Error::system("set up a connection"))?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(4096),
            path: "the measured server",
        })
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn call(&mut self, request: &[u8]) -> Result<Answer<'_>, Error> {
        (self.stream.write_all(request).await).map_err(Error::system("send a request"))?;
        self.buffer.clear();
        let (status, head) = loop {
            self.read().await?;
            if let Some(head) = position(&self.buffer, b"\r\n\r\n") {
                let head = head + 4;
                break (self.status(head)?, head);
            }
        };
        let end = head + content_length(&self.buffer[..head]);
        while self.buffer.len() < end {
            self.read().await?;
        }
        Ok(Answer {
            status,
            body: &self.buffer[head..end],
        })
    }

    async fn read(&mut self) -> Result<(), Error> {
        let read = (self.stream.read_buf(&mut self.buffer).await)
            .map_err(Error::system("read an answer"))?;
        if read == 0 {
            let what = "it closed a connection in the middle of an answer".to_owned();
            return Err(Error::Unsound { what });
        }
        Ok(())
    }

    fn status(&self, head: usize) -> Result<u16, Error> {
        let digits = self.buffer.get(9..12).filter(|_| head > 12);
        digits
            .and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok())
            .ok_or_else(|| Error::Unsound {
                what: format!("{} answered something that is no HTTP", self.path),
            })
    }
}

/// Where a needle stands in a haystack.
pub(crate) fn position(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

/// The length that the head names; hyper writes header names in small letters.
fn content_length(head: &[u8]) -> usize {
    let name = b"content-length: ";
    position(head, name).map_or(0, |at| {
        head[at + name.len()..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The length is read where it stands, and an answer without one has no body.
    #[test]
    fn reads_the_length() {
        assert_eq!(
            content_length(b"HTTP/1.1 200 OK\r\ncontent-length: 120\r\n\r\n"),
            120
        );
        assert_eq!(content_length(b"HTTP/1.1 204 No Content\r\n\r\n"), 0);
    }
}
