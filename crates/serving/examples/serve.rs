//! Serves one model without a control plane: `serve ADDRESS NAME=PATH [STATE_DIR]`. For trying
//! clients and measuring; `towpath serve` is the program.

use std::path::PathBuf;

use towpath_serving::{Options, Source, serve};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: serve ADDRESS NAME=PATH [STATE_DIR]";
    let address = arguments.next().ok_or(usage)?.parse()?;
    let model = arguments.next().ok_or(usage)?;
    let (name, path) = model.split_once('=').ok_or(usage)?;
    let models = vec![(name.to_owned(), PathBuf::from(path))];
    let source =
        Source::Standalone { models, batching: None, folder: None, state_dir: arguments.next().map(PathBuf::from) };
    serve(Options::new(address, source), async {
        let _ = tokio::signal::ctrl_c().await;
    })
    .await?;
    Ok(())
}
