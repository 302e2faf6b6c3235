//! The guest's resolver.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::Semaphore,
    time::{sleep, timeout},
};

use super::{dns, names::Names};

/// Longest query over UDP, in bytes, that is looked at.
const DATAGRAM: usize = 4096;
/// Most connections at a time; more wait.
const CONNECTIONS: usize = 32;
/// Longest wait for the next query on a connection.
const IDLE: Duration = Duration::from_secs(10);
/// Pause after a failure, e.g. for want of memory.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers queries with addresses of `names`, for ever.
///
/// # Errors
/// None so far: what can fail is tried again.
pub async fn resolve(datagrams: UdpSocket, streams: TcpListener, names: Arc<Names>) -> io::Result<Infallible> {
    tokio::select! {
        result = over_udp(datagrams, &names) => result,
        result = over_tcp(streams, names.clone()) => result,
    }
}

async fn over_udp(socket: UdpSocket, names: &Names) -> io::Result<Infallible> {
    let mut query = [0; DATAGRAM];
    loop {
        match socket.recv_from(&mut query).await {
            Err(_) => sleep(PAUSE).await,
            Ok((length, from)) => {
                if let Some(answer) = dns::answer(&query[..length], |name| names.address(name)) {
                    // Where that fails, who asked is gone, or asks again.
                    let _ = socket.send_to(&answer, from).await;
                }
            }
        }
    }
}

async fn over_tcp(listener: TcpListener, names: Arc<Names>) -> io::Result<Infallible> {
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let permit = free.clone().acquire_owned().await.map_err(io::Error::other)?;
        match listener.accept().await {
            Err(_) => sleep(PAUSE).await,
            Ok((stream, _)) => {
                let names = names.clone();
                tokio::spawn(async move {
                    // Who asked ends it, or says nothing any more.
                    let _ = converse(stream, &names).await;
                    drop(permit);
                });
            }
        }
    }
}

/// Answers the queries of one connection, each after its length.
async fn converse(mut stream: TcpStream, names: &Names) -> io::Result<()> {
    loop {
        let length = timeout(IDLE, stream.read_u16()).await??;
        let mut query = vec![0; length.into()];
        timeout(IDLE, stream.read_exact(&mut query)).await??;
        let Some(answer) = dns::answer(&query, |name| names.address(name)) else { return Ok(()) };
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        timeout(IDLE, stream.write_all(&[&length.to_be_bytes()[..], &answer].concat())).await??;
    }
}
