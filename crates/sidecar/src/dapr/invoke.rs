//! Calls to other services by their app-id.

use std::time::Duration;

use reqwest::Url;
use serde_json::Value;

use super::{
    DaprSidecar,
    client::{Answer, Reason, segment, send, traced},
};
use crate::{
    limits::refused,
    port::{Invoked, SidecarError},
};

/// The code of every error of Dapr's own that stands in place of the service's answer.
const NOT_INVOKED: &str = "ERR_DIRECT_INVOKE";

/// How the resolvers of names say that there is no such app. In Kubernetes nobody says so: the name has a form, and
/// the connection fails.
const UNKNOWN_APP: [&str; 4] =
    ["couldn't find service", "no host found with the given ID", "no healthy services found", "invalid app id"];

impl DaprSidecar {
    pub(super) async fn call(
        &self,
        app_id: &str,
        path: &str,
        body: &Value,
        traceparent: Option<&str>,
        timeout: Duration,
    ) -> Result<Invoked, SidecarError> {
        let prefix = format!("invoke/{}/method/", segment(app_id)?);
        let full = format!("{prefix}{}", path.trim_start_matches('/'));
        // Steps up in the path would lead to another part of the sidecar's API.
        let within = Url::parse(&self.api.url(&full))
            .is_ok_and(|url| url.as_str().starts_with(&self.api.url(&prefix)) && url.fragment().is_none());
        if !within {
            return Err(refused(400, format!("{path} is no path of a service")));
        }
        let request = traced(self.api.post(&full).json(body), traceparent);
        send(request, timeout).await.and_then(invoked).map_err(|error| with_app(app_id, error))
    }
}

/// Tells the service's answer from one of the sidecar's own.
fn invoked(answer: Answer) -> Result<Invoked, SidecarError> {
    let Reason { error_code, message } = answer.reason();
    if error_code == NOT_INVOKED && UNKNOWN_APP.iter().any(|words| message.contains(words)) {
        return Err(refused(404, "there is no such app".to_owned()));
    }
    // This is what Dapr says to a wrong token, and nothing else says it so.
    if error_code == NOT_INVOKED || (answer.status == 401 && answer.body.trim_ascii() == b"invalid api token") {
        return Err(answer.checked().err().unwrap_or_else(|| refused(502, "it was not called".to_owned())));
    }
    Ok(Invoked { status: answer.status, body: serde_json::from_slice(&answer.body).unwrap_or_default() })
}

fn with_app(app_id: &str, error: SidecarError) -> SidecarError {
    match error {
        SidecarError::Unavailable(why) => SidecarError::Unavailable(format!("{app_id}: {why}")),
        SidecarError::Refused { status, message } => refused(status, format!("{app_id}: {message}")),
        SidecarError::Conflict => SidecarError::Conflict,
    }
}
