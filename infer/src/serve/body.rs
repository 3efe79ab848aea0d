//! Reads the body of a request within its size, its time, and the memory of all bodies together. A slow client holds only
//! the bytes that it has sent.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderMap, header};
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use models::glyph;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::Settings;
use super::refusal::Refusal;

/// Bytes of all bodies together.
const MEMORY: usize = 256 << 20;
/// Most bytes that are read and thrown away after a refusal.
const DRAINED: usize = glyph::MAX_FILE_BYTES;

/// Reads bodies.
pub struct Bodies {
    max_body: usize,
    timeout: Duration,
    memory: Arc<Semaphore>,
}

/// The body of a request, and its share of the memory.
pub struct Received {
    pub bytes: Bytes,
    _memory: Option<OwnedSemaphorePermit>,
}

impl Bodies {
    pub fn new(settings: &Settings) -> Bodies {
        Bodies {
            max_body: settings.max_body,
            timeout: settings.timeout,
            memory: Arc::new(Semaphore::new(MEMORY)),
        }
    }

    /// Reads a body to its end.
    ///
    /// # Errors
    /// When it is compressed, too large, too slow or broken off, or the memory is used up.
    pub async fn read(&self, headers: &HeaderMap, body: Body) -> Result<Received, Refusal> {
        if let Some(encoding) = headers.get(header::CONTENT_ENCODING)
            && !encoding.as_bytes().eq_ignore_ascii_case(b"identity")
        {
            return Err(Refusal::Unsupported(
                "compressed bodies are not read: send it as it is".into(),
            ));
        }
        match timeout(self.timeout, self.collect(body)).await {
            Ok(received) => received,
            Err(_) => Err(Refusal::TooSlow),
        }
    }

    async fn collect(&self, mut body: Body) -> Result<Received, Refusal> {
        let mut chunks: Vec<Bytes> = Vec::new();
        let (mut length, mut memory) = (0, None);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Refusal::BrokenBody(error.to_string()))?;
            let Ok(chunk) = frame.into_data() else { continue };
            length += chunk.len();
            if length > self.max_body {
                return Err(Refusal::BodyTooLarge(self.max_body));
            }
            self.take(chunk.len(), &mut memory)?;
            chunks.push(chunk);
        }
        let bytes = match chunks.len() {
            1 => chunks.remove(0),
            _ => chunks.concat().into(),
        };
        Ok(Received { bytes, _memory: memory })
    }

    /// Throws away what a refusal has left of a body: most clients send all of it before they take the answer.
    pub async fn drain(&self, mut rest: Body) {
        let drain = async {
            let mut length = 0;
            while length < DRAINED
                && let Some(Ok(frame)) = rest.frame().await
            {
                length += frame.data_ref().map_or(0, Bytes::len);
            }
        };
        let _ = timeout(self.timeout, drain).await;
    }

    /// Adds so many bytes to what a request holds.
    fn take(&self, bytes: usize, held: &mut Option<OwnedSemaphorePermit>) -> Result<(), Refusal> {
        let bytes = u32::try_from(bytes).map_err(|_| Refusal::Busy)?;
        let more = self.memory.clone().try_acquire_many_owned(bytes);
        let more = more.map_err(|_| Refusal::Busy)?;
        match held {
            Some(held) => held.merge(more),
            None => *held = Some(more),
        }
        Ok(())
    }
}

/// A body twice: what is read of one is not in the other any more.
pub fn share(body: Body) -> [Body; 2] {
    let body = Arc::new(Mutex::new(body));
    [body.clone(), body].map(|body| {
        Body::new(StreamBody::new(stream::poll_fn(move |context| {
            let mut body = body.lock().unwrap_or_else(PoisonError::into_inner);
            Pin::new(&mut *body).poll_frame(context)
        })))
    })
}
