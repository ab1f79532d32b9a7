//! A network between processes and a server that can be cut, stalled, or made
//! to refuse what is written.

use anyhow::Context;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often a connection looks whether the weather has changed.
const LOOK: Duration = Duration::from_millis(20);

/// What the network does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Weather {
    /// Carries everything.
    Clear,
    /// Closes every connection, those that are made meanwhile too.
    Cut,
    /// Keeps every connection and carries nothing.
    Stall,
    /// Answers HTTP's PUT with 507 Insufficient Storage; carries all else.
    RefusePuts,
}

#[derive(Default)]
struct Shared {
    weather: AtomicU8,
    ended: AtomicBool,
    hits: AtomicU64,
}

impl Shared {
    fn is(&self, weather: Weather) -> bool {
        self.weather.load(Ordering::SeqCst) == weather as u8
    }

    fn hit(&self) {
        self.hits.fetch_add(1, Ordering::SeqCst);
    }

    fn ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }
}

/// A listener on the loopback interface that hands connections on to another
/// port. Ends with its connections when dropped.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

impl Proxy {
    /// A proxy before `target`, in clear weather.
    ///
    /// # Errors
    /// When no port is free.
    pub fn start(target: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("a proxy")?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared::default());
        let state = shared.clone();
        let listener = std::thread::spawn(move || accept(&listener, target, &state));
        Ok(Self { port, shared, listener: Some(listener) })
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes the weather.
    pub fn set(&self, weather: Weather) {
        self.shared.weather.store(weather as u8, Ordering::SeqCst);
    }

    /// How often the weather was felt so far: connections closed, connections on
    /// which data waited, writes refused.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.shared.hits.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

fn accept(listener: &TcpListener, target: u16, shared: &Arc<Shared>) {
    while !shared.ended() {
        let Ok((client, _)) = listener.accept() else {
            std::thread::sleep(LOOK);
            continue;
        };
        if shared.is(Weather::Cut) {
            shared.hit();
            continue;
        }
        // Where the server is away, the client's connection is closed.
        let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)) else { continue };
        let _ = join(client, server, shared);
    }
}

fn join(client: TcpStream, server: TcpStream, shared: &Arc<Shared>) -> std::io::Result<()> {
    for stream in [&client, &server] {
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LOOK))?;
    }
    let (there, back) = (shared.clone(), shared.clone());
    let cut = Arc::new(AtomicBool::new(false));
    let cut_back = cut.clone();
    let (from, to) = (client.try_clone()?, server.try_clone()?);
    std::thread::spawn(move || carry(from, to, &there, &cut, true));
    std::thread::spawn(move || carry(server, client, &back, &cut_back, false));
    Ok(())
}

/// Carries bytes one way until either end closes. `cut` is the connection's own:
/// that a cut of it has been counted.
fn carry(
    mut from: TcpStream,
    mut to: TcpStream,
    shared: &Shared,
    cut: &AtomicBool,
    to_server: bool,
) {
    let mut piece = vec![0; 64 * 1024];
    let mut held = false;
    while !shared.ended() {
        if shared.is(Weather::Cut) {
            if !cut.swap(true, Ordering::SeqCst) {
                shared.hit();
            }
            break;
        }
        if shared.is(Weather::Stall) {
            if !held && from.peek(&mut piece[..1]).is_ok_and(|n| n > 0) {
                shared.hit();
                held = true;
            }
            std::thread::sleep(LOOK);
            continue;
        }
        held = false;
        match from.read(&mut piece) {
            // The other direction may still have something to say.
            Ok(0) => {
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
            // A request begins a piece: none is sent before the last one's answer.
            Ok(n)
                if to_server
                    && shared.is(Weather::RefusePuts)
                    && piece[..n].starts_with(b"PUT ") =>
            {
                shared.hit();
                let _ = refuse(from.try_clone(), &piece[..n]);
                break;
            }
            Ok(n) => {
                if to.write_all(&piece[..n]).is_err() {
                    break;
                }
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// Takes the rest of a request of which `begun` has come, and answers it.
fn refuse(client: std::io::Result<TcpStream>, begun: &[u8]) -> std::io::Result<()> {
    const ANSWER: &str = "<?xml version=\"1.0\"?><Error><Code>InsufficientStorage</Code>\
                          <Message>no space left on device</Message></Error>";
    let mut client = client?;
    client.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut request = begun.to_vec();
    let mut piece = vec![0; 64 * 1024];
    while !is_whole(&request) {
        match client.read(&mut piece)? {
            0 => break,
            n => request.extend_from_slice(&piece[..n]),
        }
    }
    write!(
        client,
        "HTTP/1.1 507 Insufficient Storage\r\nContent-Type: application/xml\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{ANSWER}",
        ANSWER.len()
    )
}

fn is_whole(request: &[u8]) -> bool {
    let Some(head) = request.windows(4).position(|w| w == b"\r\n\r\n") else { return false };
    let text = String::from_utf8_lossy(&request[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length = length.and_then(|n| n.trim().parse().ok()).unwrap_or(0);
    request.len() >= head + 4 + length
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that gives back what it gets.
    fn echo() -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming().take(8).flatten() {
                std::thread::spawn(move || {
                    let (mut from, mut to) = (stream.try_clone().unwrap(), stream);
                    let _ = std::io::copy(&mut from, &mut to);
                });
            }
        });
        port
    }

    fn connect(proxy: &Proxy) -> TcpStream {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    fn said(stream: &mut TcpStream, text: &str) -> String {
        stream.write_all(text.as_bytes()).unwrap();
        let mut answer = vec![0; text.len()];
        stream.read_exact(&mut answer).unwrap();
        String::from_utf8(answer).unwrap()
    }

    #[test]
    fn a_cut_closes_connections_old_and_new() {
        let proxy = Proxy::start(echo()).unwrap();
        let mut stream = connect(&proxy);
        assert_eq!(said(&mut stream, "hello"), "hello");
        assert_eq!(proxy.hits(), 0);
        proxy.set(Weather::Cut);
        assert!(matches!(stream.read(&mut [0; 1]), Ok(0) | Err(_)));
        assert!(matches!(connect(&proxy).read(&mut [0; 1]), Ok(0) | Err(_)));
        assert_eq!(proxy.hits(), 2);
        proxy.set(Weather::Clear);
        assert_eq!(said(&mut connect(&proxy), "again"), "again");
    }

    #[test]
    fn a_stall_keeps_back_what_is_sent_and_loses_nothing() {
        let proxy = Proxy::start(echo()).unwrap();
        let mut stream = connect(&proxy);
        assert_eq!(said(&mut stream, "a"), "a");
        proxy.set(Weather::Stall);
        std::thread::sleep(10 * LOOK);
        stream.write_all(b"late").unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        assert!(stream.read(&mut [0; 4]).is_err());
        assert_eq!(proxy.hits(), 1);
        proxy.set(Weather::Clear);
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut late = [0; 4];
        stream.read_exact(&mut late).unwrap();
        assert_eq!(&late, b"late");
    }

    #[test]
    fn writes_alone_are_refused() {
        let proxy = Proxy::start(echo()).unwrap();
        proxy.set(Weather::RefusePuts);
        let mut stream = connect(&proxy);
        assert_eq!(said(&mut stream, "GET /a HTTP/1.1\r\n\r\n").len(), 19);
        stream.write_all(b"PUT /a HTTP/1.1\r\nContent-Length: 3\r\n\r\n").unwrap();
        stream.write_all(b"abc").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 507 ") && answer.ends_with("</Error>"), "{answer}");
        assert_eq!(proxy.hits(), 1);
    }
}
