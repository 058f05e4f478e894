//! Stages in containers: which image, what of the machine is there, and the variables that make sense inside.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use towpath_core::Digest;
use towpath_core::project::{Confinement, Image, Network};
use towpath_plan::pipeline::Stage;

use super::StageRunner;
use super::commands::Place;
use crate::engine::Run;
use crate::executor::container::{self, Problem};
use crate::executor::{Container, Mount};

/// Variables of the machine that mean the same in a container.
pub(super) const INHERITED: [&str; 5] = ["LANG", "LC_ALL", "LC_CTYPE", "TZ", "OMP_NUM_THREADS"];

/// With a network also these.
pub(super) const OF_NETWORK: [&str; 3] = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];

/// The ids of images by their names, each asked for once in a run: a tag that moves meanwhile does not tear it.
#[derive(Debug, Default)]
pub(super) struct Images {
    known: Mutex<BTreeMap<String, Option<Digest>>>,
}

impl Images {
    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Option<Digest>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` when it is not here, or nobody can tell: what is reused needs no podman.
    fn here(&self, image: &Image) -> Option<Digest> {
        let mut known = self.known();
        known.entry(image.name.clone()).or_insert_with(|| container::image(&image.name).ok().flatten()).clone()
    }

    pub(super) fn fetch(&self, run: &Run<'_>, stage: &Stage, image: &Image) -> Result<Digest, Problem> {
        if let Some(Some(id)) = self.known().get(&image.name) {
            return Ok(id.clone());
        }
        let log = run.request.log_of(&format!("image of {}", stage.name));
        let id = container::fetch(&image.name, &log, run.cancel)?;
        self.known().insert(image.name.clone(), Some(id.clone()));
        Ok(id)
    }
}

impl StageRunner<'_> {
    /// What `towpath.yaml` says of it, or else its `meta`.
    pub(super) fn confinement<'s>(&'s self, stage: &'s Stage) -> &'s Confinement {
        let policy = self.policy(stage).map(|policy| &policy.sandbox).filter(|said| **said != Confinement::Default);
        policy.or(stage.confinement.as_ref()).unwrap_or(&Confinement::Default)
    }

    pub(super) fn image_of<'s>(&'s self, stage: &'s Stage) -> Option<&'s Image> {
        match self.confinement(stage) {
            Confinement::Container(image) => Some(image),
            Confinement::Default | Confinement::Strict => None,
        }
    }

    /// What the stage would run in: a container's image, or the environment of the project.
    pub(super) fn environment_of(&self, stage: &Stage) -> Option<Digest> {
        match self.image_of(stage) {
            Some(image) => self.images.here(image),
            None => self.resolved.as_ref().map(|resolved| resolved.hash.clone()),
        }
    }

    /// The inner error, for people, fails the stage.
    pub(super) fn container(&self, stage: &Stage, place: &Place<'_>, image: &Image) -> Result<Container, String> {
        let request = self.run.request;
        if request.strict && image.network != Network::None {
            return Err("asks for a network, which strict stages do not get".to_owned());
        }
        let id = self.images.here(image).ok_or_else(|| format!("there is no image {} any more", image.name))?;
        let is_hidden = |path: &Path| request.hidden.iter().any(|hidden| path.starts_with(hidden));
        let mount = |path: &Path, writable| Mount { path: path.to_owned(), writable };
        let root = self.run.workspace.root();
        let mut mounts = vec![mount(place.root, true), mount(place.scratch, true)];
        // A view consists of links into the checkout.
        mounts.extend((place.root != root).then(|| mount(root, false)));
        mounts.extend(request.writable.iter().map(|path| mount(path, true)));
        mounts.extend(request.readable.iter().map(|path| mount(path, false)));
        // Files of the checkout may be links into it.
        mounts.extend(Some(self.run.cache.dir()).filter(|cache| !is_hidden(cache)).map(|cache| mount(cache, false)));
        let mut there = std::collections::BTreeSet::new();
        mounts.retain(|mount| there.insert(mount.path.clone()));
        Ok(Container {
            image: id,
            name: image.name.clone(),
            network: image.network,
            mounts,
            limits: self.policy(stage).map(|policy| policy.limits.clone()).unwrap_or_default(),
            directory: Some(place.root.join(&stage.wdir).components().collect()),
            confined: true,
            options: Vec::new(),
        })
    }
}
