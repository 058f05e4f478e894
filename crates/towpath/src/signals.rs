//! Being asked to end.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use towpath_pipeline::Cancel;

use crate::config::runtime;
use crate::error::Error;

/// Completes at the first SIGINT or SIGTERM.
pub async fn end_requested() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        // Without handlers the signals end the process by themselves.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// Completes when nobody holds the other end of standard input any more.
pub async fn stdin_closed() {
    let (tell, closed) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        // An input that cannot be read is closed for us.
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        let _ = tell.send(());
    });
    let _ = closed.await;
}

/// A switch that SIGINT and SIGTERM throw, for work that does not run on a runtime. Stages have
/// process groups of their own: the terminal's Ctrl-C reaches only us.
pub fn cancel_on_signal() -> Result<Cancel, Error> {
    let cancel = Cancel::new().map_err(Error::io("open", std::path::Path::new("an event descriptor")))?;
    let (thrown, runtime) = (cancel.clone(), runtime()?);
    std::thread::spawn(move || {
        runtime.block_on(end_requested());
        thrown.cancel();
    });
    Ok(cancel)
}
