//! One direction of a TCP connection whose other end is carried elsewhere. What is dropped before its end resets the connection: half
//! of something that ended in good order would be taken for a whole.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use rustix::net::sockopt::set_socket_linger;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _},
    net::tcp::OwnedWriteHalf,
};

/// The direction to a program, or to the world. Its end is `shutdown` of `AsyncWriteExt`, or [`Half::end`].
#[derive(Debug)]
pub struct Half {
    /// None: it is dropped just now.
    writer: Option<OwnedWriteHalf>,
    /// Whether it has ended in good order.
    ended: bool,
}

impl Half {
    /// The direction that this writes to.
    #[must_use]
    pub fn new(writer: OwnedWriteHalf) -> Self {
        Self { writer: Some(writer), ended: false }
    }

    /// Ends the direction in good order. The other one goes on.
    pub async fn end(&mut self) {
        // Where that fails, nobody is there any more.
        let _ = self.shutdown().await;
    }

    /// Resets the connection, as soon as nobody has its other half, also where this direction has ended.
    pub fn reset(mut self) {
        self.ended = false;
    }

    fn poll<T>(
        &mut self,
        mut with: impl FnMut(Pin<&mut OwnedWriteHalf>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match &mut self.writer {
            Some(writer) => with(Pin::new(writer)),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl AsyncWrite for Half {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll(|writer| writer.poll_write(cx, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|writer| writer.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = self.poll(|writer| writer.poll_shutdown(cx));
        self.ended |= ended.is_ready();
        ended
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take()
            && !self.ended
        {
            // Where that fails, nobody is there any more.
            let _ = set_socket_linger(writer.as_ref(), Some(Duration::ZERO));
            // Dropped, it would end its direction in good order first.
            writer.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::AsyncReadExt as _,
        net::{TcpListener, TcpStream},
    };

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (near.unwrap(), far.unwrap().0)
    }

    #[tokio::test]
    async fn a_direction_ends_and_the_other_goes_on() {
        let (near, mut far) = pair().await;
        let (mut reader, writer) = near.into_split();
        let mut half = Half::new(writer);
        half.write_all(b"whole").await.unwrap();
        half.end().await;
        let mut said = String::new();
        far.read_to_string(&mut said).await.unwrap();
        far.write_all(b"answer").await.unwrap();
        let mut answer = [0; 6];
        reader.read_exact(&mut answer).await.unwrap();
        assert_eq!((said.as_str(), &answer), ("whole", b"answer"));
        drop((half, reader));
        assert_eq!(far.read(&mut [0]).await.unwrap(), 0, "it ends in good order");
    }

    #[tokio::test]
    async fn what_is_dropped_before_its_end_is_reset() {
        for (ends, resets) in [(false, false), (false, true), (true, true)] {
            let (near, mut far) = pair().await;
            let (reader, writer) = near.into_split();
            let mut half = Half::new(writer);
            if ends {
                half.end().await;
                assert_eq!(far.read(&mut [0]).await.unwrap(), 0);
            }
            if resets {
                half.reset();
            } else {
                drop(half);
            }
            drop(reader);
            // After an end the reset is an error of what is said, and not of what is read.
            if ends {
                while far.write_all(b"more").await.is_ok() {
                    tokio::task::yield_now().await;
                }
            } else {
                assert_eq!(far.read(&mut [0]).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
            }
        }
    }
}
