use crate::administration::{Administration, Place};
use crate::config::Context;
use crate::error::{Error, Exit};

/// End a token
#[derive(clap::Args, Debug)]
pub struct Revoke {
    /// Its id, as `towpath token ls` shows it
    id: String,
    #[command(flatten)]
    place: Place,
}

impl Revoke {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let token = Administration::open(ctx, self.place).await?.revoke_token(self.id).await?;
        ctx.ui.show_as(&token, || format!("Token {} of {} is revoked.", token.id, token.user))?;
        Ok(Exit::Done)
    }
}
