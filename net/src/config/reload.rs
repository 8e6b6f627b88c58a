// SPDX-License-Identifier: GPL-3.0-or-later
//! A changed configuration comes into force in a running process: journalled first, then used.

use tablao_core::{Actor, Request, decide::Asker};

use super::{Config, Edited};
use crate::{
    Error,
    engine::{Ask, Engine},
    node::Node,
};

impl Node {
    /// Reads the file again. `true` if another configuration is in force now; an error leaves
    /// the last good one in force.
    pub async fn reload_config(&self) -> Result<bool, Error> {
        let _turn = self.settings.changing.lock().await;
        self.look_at_config(Actor::SYSTEM, Asker::default()).await
    }

    /// Changes the file and brings it into force. The change says in words what is wrong with it.
    pub async fn change_config(
        &self,
        actor: Actor,
        asker: Asker,
        change: impl FnOnce(&mut Edited) -> Result<(), String> + Send + 'static,
    ) -> Result<Result<(), String>, Error> {
        let _turn = self.settings.changing.lock().await;
        let path = self.settings.path().to_owned();
        let write = move || {
            let mut edited = Edited::open(&path)?;
            match change(&mut edited).and_then(|()| edited.config().map(drop)) {
                Ok(()) => edited.save(&path).map(|_| Ok(())),
                Err(what) => Ok(Err(what)),
            }
        };
        let written = tokio::task::spawn_blocking(write).await;
        let written = written.map_err(|error| Error::Configuration {
            path: self.settings.path().to_owned(),
            what: error.to_string(),
        })??;
        if written.is_ok() {
            self.look_at_config(actor, asker).await?;
        }
        Ok(written)
    }

    async fn look_at_config(&self, actor: Actor, asker: Asker) -> Result<bool, Error> {
        let Some(config) = self.settings.look()? else {
            return Ok(false);
        };
        if let Some(site) = &self.site {
            self.note_config(site, &config, actor, asker).await?;
            site.set_expiries(config.upkeep.expiries()).await?;
        }
        self.settings.put(config);
        // Deleted jobs may be due sooner, or later.
        self.deletion.look();
        Ok(true)
    }

    /// Puts into the journal what changed since it last said so.
    pub(crate) async fn note_config(
        &self,
        site: &Engine,
        config: &Config,
        actor: Actor,
        asker: Asker,
    ) -> Result<(), Error> {
        let text = config.journalled();
        let policy = config.policy();
        let request = {
            let model = site.model();
            let is_new = model.config_text().is_empty() && *config == Config::default();
            if model.farm().policy() != &policy {
                Request::ApplyConfig { policy, text }
            } else if is_new || model.config_text() == text {
                return Ok(());
            } else {
                Request::NoteConfig { text }
            }
        };
        // It is decided without a refusal.
        let _ = site.ask(Ask::new(request, actor, asker)).await?;
        Ok(())
    }
}
