//! Where the dashboard's broker is.

use crate::{
    env::{ConfigError, Env},
    secret::Secret,
};

/// MQTT's port where the URL names none.
const PORT: u16 = 1883;

/// The broker that the dashboard listens to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MqttSettings {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// `MQTT_USERNAME` and `MQTT_PASSWORD`.
    pub login: Option<(String, Secret)>,
}

impl MqttSettings {
    /// Reads `MQTT_URL` and the login; `None` without a URL, and then nothing is told to anybody.
    pub fn from_env(env: &dyn Env) -> Result<Option<Self>, ConfigError> {
        let (user, password) = (env.get("MQTT_USERNAME"), env.get("MQTT_PASSWORD"));
        let Some(url) = env.get("MQTT_URL") else { return Ok(None) };
        let (host, port) = address(&url)?;
        let login = match (user, password) {
            (Some(user), password) => Some((user, Secret::new(password.unwrap_or_default()))),
            (None, Some(_)) => return Err(ConfigError::new("MQTT_USERNAME", "is not set, but MQTT_PASSWORD is")),
            (None, None) => None,
        };
        Ok(Some(Self { host, port, login }))
    }
}

/// The URL may hold a password, so the error does not repeat it.
fn address(url: &str) -> Result<(String, u16), ConfigError> {
    let wrong = |problem: &str| ConfigError::new("MQTT_URL", problem);
    let url = reqwest::Url::parse(url).map_err(|_| wrong("must be an address such as mqtt://host:1883"))?;
    if url.scheme() != "mqtt" {
        return Err(wrong("must begin with mqtt:// (TLS and WebSockets are not spoken)"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("must not hold a login: give it with MQTT_USERNAME and MQTT_PASSWORD"));
    }
    match url.host_str().filter(|host| !host.is_empty()) {
        Some(host) if matches!(url.path(), "" | "/") => Ok((host.to_owned(), url.port().unwrap_or(PORT))),
        _ => Err(wrong("must be an address such as mqtt://host:1883")),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on should fail there")]
mod tests {
    use super::*;
    use crate::env::MapEnv;

    fn read(pairs: &[(&str, &str)]) -> Result<Option<MqttSettings>, String> {
        MqttSettings::from_env(&MapEnv::new(pairs.iter().copied())).map_err(|e| e.to_string())
    }

    #[test]
    fn unset_is_off_and_the_port_has_a_default() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[("MQTT_URL", ""), ("MQTT_USERNAME", "u")]), Ok(None));
        let plain = MqttSettings { host: "rabbit".to_owned(), port: 1883, login: None };
        assert_eq!(read(&[("MQTT_URL", "mqtt://rabbit")]), Ok(Some(plain)));
        let six = read(&[("MQTT_URL", "mqtt://[::1]:1884/")]).unwrap().unwrap();
        assert_eq!((six.host.as_str(), six.port), ("[::1]", 1884));
    }

    #[test]
    fn the_password_stays_out_of_debug_and_of_errors() {
        let login = [("MQTT_URL", "mqtt://b"), ("MQTT_USERNAME", "mesh"), ("MQTT_PASSWORD", "hunter2")];
        let settings = read(&login).unwrap().unwrap();
        assert!(!format!("{settings:?}").contains("hunter2"));
        assert_eq!(settings.login.unwrap().1.expose(), "hunter2");
        for (url, says) in [
            ("mqtt://u:hunter2@b", "MQTT_URL must not hold a login: give it with MQTT_USERNAME and MQTT_PASSWORD"),
            ("mqtts://hunter2", "MQTT_URL must begin with mqtt:// (TLS and WebSockets are not spoken)"),
            ("hunter2", "MQTT_URL must be an address such as mqtt://host:1883"),
            ("mqtt://b/hunter2", "MQTT_URL must be an address such as mqtt://host:1883"),
        ] {
            assert_eq!(read(&[("MQTT_URL", url)]).unwrap_err(), says);
        }
        let lonely = read(&[("MQTT_URL", "mqtt://b"), ("MQTT_PASSWORD", "hunter2")]);
        assert_eq!(lonely.unwrap_err(), "MQTT_USERNAME is not set, but MQTT_PASSWORD is");
    }
}
