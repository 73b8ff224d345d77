//! An app that a test plays itself, beside a real sidecar of the rig.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    sync::Arc,
};

use anyhow::{Context, Result};
use mesh_six_sidecar::{DaprConfig, DaprSidecar};

use super::Rig;
use crate::launch::{Daprd, DaprdConfig, Surroundings, render};

/// The sidecar of an app that is no process of the rig. Ended when it is dropped.
pub struct Guest {
    daprd: Daprd,
    sidecar: Arc<DaprSidecar>,
}

impl Guest {
    /// The way to the sidecar.
    pub fn sidecar(&self) -> Arc<DaprSidecar> {
        Arc::clone(&self.sidecar)
    }

    /// The sidecar itself.
    pub fn daprd(&mut self) -> &mut Daprd {
        &mut self.daprd
    }
}

impl Rig {
    /// A sidecar for `app_id`, with the components that `service` has. Its app, if it has one, listens on `app_port` of
    /// 127.0.0.1 and is shown [`Rig::app_token`].
    pub async fn guest(&self, app_id: &str, service: &str, app_port: Option<u16>) -> Result<Guest> {
        let folder = self.folder().join(app_id);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        // It holds the components' secrets.
        fs::set_permissions(&folder, Permissions::from_mode(0o700))?;
        let redis = self.redis().lock().await;
        let surroundings = Surroundings {
            broker_url: self.broker_url().to_owned(),
            redis_address: redis.address(),
            redis_password: redis.password().to_owned(),
            otlp: None,
            also: vec![(app_id.to_owned(), service.to_owned())],
        };
        drop(redis);
        let rendered = render(&surroundings, &folder)?;
        let daprd = Daprd::start(DaprdConfig {
            app_port,
            configuration: Some(rendered.configuration),
            api_token: Some(self.api_token().to_owned()),
            app_token: Some(self.app_token().to_owned()),
            ..DaprdConfig::new(app_id, rendered.resources, folder)
        });
        let daprd = daprd.await?;
        let sidecar = DaprSidecar::new(DaprConfig {
            base_url: daprd.url(),
            api_token: Some(self.api_token().to_owned()),
            ..DaprConfig::new(app_id)
        })?;
        Ok(Guest { daprd, sidecar })
    }
}
