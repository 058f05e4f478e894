//! Accepting connections and speaking HTTP on them.
//!
//! `axum::serve` would do the same for several times the CPU of a prediction: its connections wake
//! another thread at almost every request (see [`InPlace`]), and predictions take the router's way.

use std::convert::Infallible;
use std::future::Future;
use std::io::{Error, ErrorKind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use axum::http::{Request, Version};
use futures_util::FutureExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::Accept;

use crate::listen::{Listener, Stream, Tls};
use crate::protocol::Service;
use crate::revision::lock;

/// Reading the head of a request takes at most this long, and so does a TLS handshake: whoever sends
/// it byte by byte does not keep a connection.
const PATIENCE: Duration = Duration::from_secs(30);

/// Requests at once on one connection of HTTP/2.
const CONCURRENT_STREAMS: u32 = 1_024;

/// How long connections stay open for a request that a client sends before it knows of the end.
const LINGER: Duration = Duration::from_secs(1);

/// What connections are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    /// No new connections. HTTP/2 says goodbye, HTTP/1 with its next answer (see [`Service::answer`]).
    Lingering,
    /// Connections without a request end, the others with their answer.
    Closing,
}

/// Answers connections until `shutdown` completes, and then what was asked before clients could know of it.
pub(crate) async fn accept(
    listeners: Vec<Listener>,
    tls: Option<Tls>,
    service: Service,
    shutdown: impl Future<Output = ()>,
) {
    let (phase, phases) = watch::channel(Phase::Serving);
    let mut accepting = JoinSet::new();
    for listener in listeners {
        let at = Connections { phases: phases.clone(), service: service.clone(), tls: tls.clone() };
        accepting.spawn(at.accept(listener));
    }
    drop(phases);
    shutdown.await;
    phase.send_replace(Phase::Lingering);
    accepting.join_all().await;
    // Every connection holds a receiver.
    if tokio::time::timeout(LINGER, phase.closed()).await.is_err() {
        phase.send_replace(Phase::Closing);
        phase.closed().await;
    }
}

/// What every connection of a listener needs.
struct Connections {
    phases: watch::Receiver<Phase>,
    service: Service,
    tls: Option<Tls>,
}

impl Connections {
    async fn accept(self, listener: Listener) {
        let mut phases = self.phases.clone();
        loop {
            tokio::select! {
                accepted = listener.accept() => self.take(accepted).await,
                () = reached(&mut phases, Phase::Lingering) => break,
            }
        }
        // Those that the kernel has taken already would be reset.
        while let Some(accepted @ Ok(_)) = listener.accept().now_or_never() {
            self.take(accepted).await;
        }
    }

    async fn take(&self, accepted: std::io::Result<Stream>) {
        let phases = self.phases.clone();
        match accepted {
            Ok(Stream::Unix(stream)) => drop(tokio::spawn(answer(stream, self.service.to(None), phases))),
            Ok(Stream::Tcp(stream, peer)) => {
                let service = self.service.to(Some(peer.ip()));
                match &self.tls {
                    None => drop(tokio::spawn(answer(stream, service, phases))),
                    Some(Tls(acceptor)) => {
                        drop(tokio::spawn(shake_hands(acceptor.accept(stream), service, phases)));
                    }
                }
            }
            Err(error) if is_of_the_client(&error) => {}
            Err(error) => {
                // Out of descriptors, for example: others have to end first.
                tracing::error!(%error, "connections cannot be accepted");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Completes when the phase has come, or a later one.
async fn reached(phases: &mut watch::Receiver<Phase>, wanted: Phase) {
    let _ = phases.wait_for(|phase| *phase >= wanted).await;
}

async fn shake_hands(handshake: Accept<TcpStream>, service: Service, mut phases: watch::Receiver<Phase>) {
    let shaken = tokio::select! {
        shaken = tokio::time::timeout(PATIENCE, handshake) => shaken,
        () = reached(&mut phases, Phase::Closing) => return,
    };
    match shaken {
        Ok(Ok(stream)) => answer(stream, service, phases).await,
        Ok(Err(error)) => tracing::trace!(%error, "a handshake failed"),
        Err(_) => tracing::trace!("a handshake took too long"),
    }
}

async fn answer<S>(stream: S, service: Service, mut phases: watch::Receiver<Phase>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let is_http2 = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&is_http2);
    let answer = service_fn(move |request: Request<Incoming>| {
        let service = service.clone();
        if request.version() == Version::HTTP_2 {
            asked.store(true, Ordering::Relaxed);
        }
        async move { Ok::<_, Infallible>(service.answer(request).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(CONCURRENT_STREAMS);
    let connection = builder.serve_connection(TokioIo::new(stream), answer).into_owned();
    let connection = async move {
        let mut connection = pin!(connection);
        tokio::select! {
            biased;
            ended = &mut connection => return ended,
            () = reached(&mut phases, Phase::Lingering) => {}
        }
        // Its goodbye names the last request that is answered: nothing is lost without a pause.
        if !is_http2.load(Ordering::Relaxed) {
            tokio::select! {
                biased;
                ended = &mut connection => return ended,
                () = reached(&mut phases, Phase::Closing) => {}
            }
        }
        connection.as_mut().graceful_shutdown();
        connection.await
    };
    if let Err(error) = InPlace::new(connection).await {
        tracing::trace!(%error, "a connection ended early");
    }
}

/// The connection ended before it was accepted.
fn is_of_the_client(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset)
}

/// Polls a future again where it stands when it woke itself meanwhile.
///
/// The two halves of a connection in hyper, the one that reads and the one that answers, wake each
/// other through the task they are both in. The runtime takes that for new work, queues the task
/// and wakes a sleeping thread to help, which costs more than a prediction.
struct InPlace<F> {
    future: Pin<Box<F>>,
    wakes: Arc<Wakes>,
    /// Of `wakes`.
    waker: Waker,
}

struct Wakes {
    state: AtomicU8,
    task: Mutex<Waker>,
}

/// Not being polled: a wake goes to the task.
const WAITING: u8 = 0;
const POLLED: u8 = 1;
const WOKEN_WHILE_POLLED: u8 = 2;

/// Polls in a row before others get their turn.
const IN_A_ROW: usize = 16;

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let woken = |state| (state != WAITING).then_some(WOKEN_WHILE_POLLED);
        if self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, woken).is_err() {
            lock(&self.task).wake_by_ref();
        }
    }
}

impl<F> InPlace<F> {
    fn new(future: F) -> Self {
        let wakes = Arc::new(Wakes { state: AtomicU8::new(WAITING), task: Mutex::new(Waker::noop().clone()) });
        Self { future: Box::pin(future), waker: Waker::from(Arc::clone(&wakes)), wakes }
    }
}

impl<F: Future> Future for InPlace<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Self { future, wakes, waker } = self.get_mut();
        lock(&wakes.task).clone_from(context.waker());
        for _ in 0..IN_A_ROW {
            wakes.state.store(POLLED, Ordering::Release);
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(waker)) {
                return Poll::Ready(output);
            }
            if wakes.state.compare_exchange(POLLED, WAITING, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return Poll::Pending;
            }
        }
        wakes.state.store(WAITING, Ordering::Release);
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// Counts the wakes that reach a task.
    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Wakes itself `times` times before it is done; says how often it was polled.
    fn waking_itself(times: usize) -> impl Future<Output = usize> {
        let mut polls = 0;
        poll_fn(move |context| {
            polls += 1;
            if polls > times {
                return Poll::Ready(polls);
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
    }

    #[test]
    fn a_future_that_wakes_itself_is_polled_again_without_its_task() {
        let task = Arc::new(Task::default());
        let waker = Waker::from(Arc::clone(&task));
        let mut future = pin!(InPlace::new(waking_itself(3)));
        assert_eq!(future.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Ready(4));
        assert_eq!(task.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_future_that_never_stops_waking_itself_lets_others_run() {
        let task = Arc::new(Task::default());
        let waker = Waker::from(Arc::clone(&task));
        let mut future = pin!(InPlace::new(waking_itself(IN_A_ROW + 1)));
        assert_eq!(future.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending);
        assert_eq!(task.0.load(Ordering::Relaxed), 1);
        assert_eq!(future.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Ready(IN_A_ROW + 2));
    }

    #[tokio::test]
    async fn a_wake_from_elsewhere_reaches_the_task() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let waiting = tokio::spawn(InPlace::new(receiver));
        tokio::task::yield_now().await;
        sender.send(7).unwrap();
        assert_eq!(waiting.await.unwrap(), Ok(7));
    }
}
