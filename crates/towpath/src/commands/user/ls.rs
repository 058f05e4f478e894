use crate::administration::{Administration, Place};
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::ui;

/// List the users
#[derive(clap::Args, Debug)]
pub struct Ls {
    #[command(flatten)]
    place: Place,
}

impl Ls {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let users = Administration::open(ctx, self.place).await?.users().await?;
        ctx.ui.show_as(&users, || {
            let rows = users.iter().map(|user| {
                let admin = if user.admin { "yes".into() } else { String::new() };
                [user.name.clone(), admin, user.roles.join(", "), user.emails.join(", "), ui::time(user.created_at)]
            });
            ui::table(["NAME", "ADMIN", "ROLES", "E-MAIL", "SINCE"], rows)
        })?;
        Ok(Exit::Done)
    }
}
