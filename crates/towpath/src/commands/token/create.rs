use std::time::Duration;

use towpath_api::users::{CreateToken, Token};

use crate::administration::{Administration, Place};
use crate::config::{Context, duration};
use crate::error::{Error, Exit};
use crate::ui::{self, Human};

/// Make a token; its secret is shown this once
#[derive(clap::Args, Debug)]
pub struct Create {
    /// Whose token
    #[arg(long, value_name = "NAME")]
    user: String,
    /// What it allows: read, write, admin, or a role that approvals ask for [default: write]
    #[arg(long, value_name = "ROLE")]
    role: Vec<String>,
    /// How long it lives, for example 12h or 90d [default: until it is revoked]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    lifetime: Option<Duration>,
    #[command(flatten)]
    place: Place,
}

impl Create {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let administration = Administration::open(ctx, self.place).await?;
        let lifetime_seconds = self.lifetime.map(|lifetime| lifetime.as_secs());
        let new = CreateToken { user: self.user, roles: self.role, lifetime_seconds };
        ctx.ui.show(&administration.create_token(new).await?)?;
        Ok(Exit::Done)
    }
}

impl Human for Token {
    fn human(&self) -> String {
        let until = self.expires_at.map(|at| format!(", until {}", ui::time(at))).unwrap_or_default();
        let about = format!("Token {} of {} ({}){until}", self.id, self.user, self.roles.join(", "));
        match &self.secret {
            Some(secret) => format!("{about}. Keep the secret, it is not shown again:\n{secret}"),
            None => about,
        }
    }
}
