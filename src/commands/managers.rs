// SPDX-License-Identifier: GPL-3.0-or-later
//! `tablao managers`: look at Managers, and let new ones in.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::listing::{Client, Listing};
use crate::{
    client,
    exit::{Code, Exit},
    output::{self, Column},
};

const MANAGER_COLUMNS: &[Column] = &[
    ("ID", "/id"),
    ("NAME", "/name"),
    ("ROLE", "/role"),
    ("CONNECTED", "/connected"),
    ("JOBS", "/jobs"),
    ("WORKERS", "/workers"),
    ("LAST SEEN", "/last_seen"),
];

/// Look at Managers.
///
/// Example: tablao managers list
#[derive(Args)]
pub(crate) struct Managers {
    #[command(subcommand)]
    verb: ManagersVerb,
    #[command(flatten)]
    client: Client,
}

#[derive(Subcommand)]
enum ManagersVerb {
    /// List Managers.
    List {
        #[command(flatten)]
        listing: Listing,
    },
    /// Show one Manager.
    Show {
        /// Its id or its name.
        #[arg(value_name = "MANAGER")]
        manager: String,
    },
    /// Get a token with which a Manager links to this Server. It is used up by the first use and
    /// ends after a quarter of an hour.
    LinkToken,
}

impl Managers {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let client = self.client;
        let path = "/api/farm/v1/managers";
        client::block_on(async {
            match self.verb {
                ManagersVerb::List { listing } => {
                    client
                        .list(path, Vec::new(), &listing, MANAGER_COLUMNS)
                        .await
                }
                ManagersVerb::LinkToken => {
                    let token = client
                        .farm()?
                        .post("/api/farm/v1/link-tokens", &serde_json::json!({}))
                        .await?;
                    if client.json {
                        output::json(&token)
                    } else {
                        println!("{}", token["token"].as_str().unwrap_or_default());
                        Ok(())
                    }
                }
                ManagersVerb::Show { manager } => {
                    let (items, _) = client.read(path, Vec::new(), 1000).await?;
                    let is = |item: &&Value| item["id"] == *manager || item["name"] == *manager;
                    let found = items.iter().find(is).ok_or_else(|| {
                        let words = format!(
                            "no Manager has the id or name {manager:?}; `tablao managers list` \
                             shows them"
                        );
                        Exit::new(Code::Failed, words)
                    })?;
                    if client.json {
                        output::json(found)
                    } else {
                        output::fields(found)
                    }
                }
            }
        })
    }
}
