//! The shape of `credentials.toml`. Values keep where they stand, so that a check can point at them.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

type Text = Spanned<String>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a file of [[credential]] tables")]
pub(super) struct File {
    #[serde(default)]
    pub(super) credential: Vec<Spanned<Credential>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with the keys name, hosts and secret")]
pub(super) struct Credential {
    pub(super) name: Text,
    pub(super) hosts: Spanned<Vec<Text>>,
    pub(super) secret: Spanned<Secret>,
    pub(super) header: Option<Text>,
    pub(super) bearer: Option<Spanned<bool>>,
    pub(super) basic: Option<Text>,
    pub(super) git: Option<Spanned<Git>>,
    pub(super) path: Option<Text>,
    pub(super) environments: Option<Vec<Text>>,
    #[serde(default)]
    pub(super) variables: BTreeMap<String, Text>,
    pub(super) ca: Option<Text>,
    #[serde(default)]
    pub(super) plain: bool,
    #[serde(default)]
    pub(super) private: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with the key file, command or systemd")]
pub(super) struct Secret {
    pub(super) file: Option<Text>,
    pub(super) command: Option<Spanned<Vec<Text>>>,
    pub(super) systemd: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with the key user")]
pub(super) struct Git {
    pub(super) user: Text,
    #[serde(default)]
    pub(super) push: bool,
}
