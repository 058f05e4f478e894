//! Being asked to end.

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
