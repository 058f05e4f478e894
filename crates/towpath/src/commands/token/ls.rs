use crate::administration::{Administration, Place};
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::ui;

/// List living tokens, without their secrets
#[derive(clap::Args, Debug)]
pub struct Ls {
    #[command(flatten)]
    place: Place,
}

impl Ls {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let tokens = Administration::open(ctx, self.place).await?.tokens().await?;
        ctx.ui.show_as(&tokens, || {
            let rows = tokens.iter().map(|token| {
                let until = token.expires_at.map_or_else(|| "it is revoked".to_owned(), ui::time);
                [token.id.clone(), token.user.clone(), token.roles.join(", "), ui::time(token.created_at), until]
            });
            ui::table(["ID", "USER", "ROLES", "SINCE", "LIVES UNTIL"], rows)
        })?;
        Ok(Exit::Done)
    }
}
