use towpath_api::audit::Verified;

use crate::config::Context;
use crate::error::{Error, Exit};
use crate::ui::{self, Human};

/// Recompute the chain of the whole ledger; exit code 1 when it is broken
#[derive(clap::Args, Debug)]
pub struct Verify {}

impl Verify {
    pub async fn run(ctx: &Context) -> Result<Exit, Error> {
        let verified: Verified = ctx.client()?.get("/audit/verify").await?;
        ctx.ui.show(&verified)?;
        Ok(if verified.intact { Exit::Done } else { Exit::No })
    }
}

impl Human for Verified {
    fn human(&self) -> String {
        if self.intact {
            return format!("The ledger is intact: {} entries, head {}", self.entries, self.head.short());
        }
        let at = self.broken_at.map(|seq| format!(" at entry {seq}")).unwrap_or_default();
        let detail = self.detail.as_deref().unwrap_or("it does not fit");
        format!("The ledger is broken{at}: {detail} (checked at {})", ui::time(self.at))
    }
}
