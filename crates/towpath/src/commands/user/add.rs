use towpath_api::users::{CreateUser, User};

use crate::administration::{Administration, Place};
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::ui::Human;

/// Add a user; from the first one on, every request needs a token
#[derive(clap::Args, Debug)]
pub struct Add {
    /// Letters, digits, '.', '_' and '-'
    name: String,
    /// Addresses that commits of this user are made with, which makes them their author
    #[arg(long, value_name = "ADDRESS")]
    email: Vec<String>,
    /// May make users and tokens
    #[arg(long)]
    admin: bool,
    #[command(flatten)]
    place: Place,
}

impl Add {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let administration = Administration::open(ctx, self.place).await?;
        let new = CreateUser { name: self.name, emails: self.email, admin: self.admin };
        ctx.ui.show(&administration.add_user(new).await?)?;
        Ok(Exit::Done)
    }
}

impl Human for User {
    fn human(&self) -> String {
        let admin = if self.admin { ", an admin" } else { "" };
        format!("User {}{admin}. Next: towpath token create --user {}", self.name, self.name)
    }
}
