//! `config.toml`, changed by command: what a person has written there stays as it is.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use toml_edit::{DocumentMut, Item, Table, value};

use super::{ConfigError, HostAddress, config};

/// The user's `config.toml`, read to be changed.
#[derive(Debug)]
pub(crate) struct ConfigFile {
    path: PathBuf,
    document: DocumentMut,
}

impl ConfigFile {
    /// Reads the file; none is an empty one.
    pub(crate) fn open() -> Result<Self, ConfigError> {
        let path = config::path().ok_or(ConfigError::NoHome)?;
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(unreadable(&path, &error)),
        };
        Self::parse(path, &text)
    }

    fn parse(path: PathBuf, text: &str) -> Result<Self, ConfigError> {
        // Says what is wrong with the whole of it, and where.
        config::Hosts::parse(&path, text)?;
        let document = text.parse().map_err(|error: toml_edit::TomlError| unreadable(&path, &error))?;
        Ok(Self { path, document })
    }

    /// Path of the file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a host; not written yet.
    pub(crate) fn add(&mut self, name: &str, address: &str, hostd: Option<&str>) -> Result<HostAddress, ConfigError> {
        // Comments behind the last entry stay in front of what is added.
        let comments = self.document.trailing().as_str().unwrap_or_default().to_owned();
        if !self.document.contains_key("hosts") {
            self.document.set_trailing("");
        }
        let hosts = self.document.entry("hosts").or_insert_with(|| {
            let mut table = Table::new();
            table.decor_mut().set_prefix(comments);
            Item::Table(table)
        });
        let Some(hosts) = hosts.as_table_like_mut() else {
            return Err(ConfigError::Address("`hosts` is no table".into()));
        };
        if let Some(known) = hosts.get(name) {
            let known = address_of(known).join(" ");
            let message = format!("there is a host `{name}` already ({known}); `pilothouse host rm {name}` removes it");
            return Err(ConfigError::Address(message));
        }
        let host = match hostd {
            None => value(address),
            Some(program) => {
                let mut table = toml_edit::InlineTable::new();
                table.insert("address", address.into());
                table.insert("hostd", program.into());
                value(table)
            }
        };
        hosts.insert(name, host);
        let parsed = config::Hosts::parse(&self.path, &self.document.to_string());
        parsed.map_err(ConfigError::without_place)?.choose(&[name.to_owned()], None)?.pop().ok_or(ConfigError::NoHome)
    }

    /// Removes a host, and gives the words that add it again; not written yet. None: there is none of this name.
    pub(crate) fn remove(&mut self, name: &str) -> Option<Vec<String>> {
        let hosts = self.document.get_mut("hosts")?.as_table_like_mut()?;
        hosts.remove(name).map(|host| address_of(&host))
    }

    /// Writes the file whole, or leaves it as it was. A link stays one.
    pub(crate) fn write(&self) -> Result<(), ConfigError> {
        let failed = |error: io::Error| {
            let message = format!("cannot write {}: {error}", self.path.display());
            ConfigError::Address(message)
        };
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(failed)?;
        let new = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        fs::write(new.path(), self.document.to_string()).map_err(failed)?;
        if let Ok(before) = fs::metadata(&path) {
            fs::set_permissions(new.path(), before.permissions()).map_err(failed)?;
        }
        new.as_file().sync_all().map_err(failed)?;
        new.persist(&path).map_err(|error| failed(error.error))?;
        Ok(())
    }
}

/// The address that an entry of `hosts` has, and the option for its program where it names one.
fn address_of(host: &Item) -> Vec<String> {
    let table = host.as_table_like();
    let text = |key| table.and_then(|table| table.get(key)).and_then(Item::as_str);
    let address = host.as_str().or_else(|| text("address")).unwrap_or_default().to_owned();
    match text("hostd") {
        Some(program) => vec![address, "--hostd".into(), program.into()],
        None => vec![address],
    }
}

fn unreadable(path: &Path, error: &dyn std::error::Error) -> ConfigError {
    ConfigError::Unreadable { file: path.display().to_string(), message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# mine\ntheme = \"dark\" # as ever\n\n[hosts]\nnear = \"unix:/a\" # here\n\n[hosts.lab]\naddress = \"ssh://lab\"\n";

    fn file(text: &str) -> ConfigFile {
        ConfigFile::parse("config.toml".into(), text).unwrap()
    }

    #[test]
    fn what_is_there_stays_as_it_is() {
        let mut file = file(TEXT);
        let far = file.add("far", "ssh://me@far", None).unwrap();
        assert_eq!((far.name.as_str(), far.endpoint.to_string().as_str()), ("far", "ssh://me@far"));
        assert!(file.document.to_string().starts_with(TEXT.split_once("\n\n[hosts.lab]").unwrap().0));
        assert_eq!(file.remove("lab"), Some(vec!["ssh://lab".into()]));
        assert_eq!(
            file.document.to_string(),
            "# mine\ntheme = \"dark\" # as ever\n\n[hosts]\nnear = \"unix:/a\" # here\nfar = \"ssh://me@far\"\n"
        );
        assert_eq!(file.remove("lab"), None);
    }

    #[test]
    fn a_file_begins_with_its_first_host() {
        let mut file = file("# mine\n");
        file.add("far", "ssh://far", Some("/opt/hostd")).unwrap();
        let text = file.document.to_string();
        assert_eq!(text, "# mine\n[hosts]\nfar = { address = \"ssh://far\", hostd = \"/opt/hostd\" }\n");
        let words = file.remove("far").unwrap();
        assert_eq!(words, ["ssh://far", "--hostd", "/opt/hostd"]);
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let error = |name, address, hostd| file(TEXT).add(name, address, hostd).unwrap_err().to_string();
        assert!(error("near", "ssh://far", None).starts_with("there is a host `near` already (unix:/a)"));
        assert!(error("a b", "ssh://far", None).contains("a host's name has"));
        assert!(error("far", "ssh://", None).contains("write ssh://"));
        assert!(error("far", "unix:/b", Some("/c")).contains("begins with ssh://"));
        assert!(ConfigFile::parse("config.toml".into(), "[colours]").is_err());
    }

    #[test]
    fn a_link_and_rights_stay() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real.toml"), folder.path().join("config.toml"));
        fs::write(&real, TEXT).unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let mut file = ConfigFile { path: link.clone(), ..file(TEXT) };
        file.add("far", "ssh://far", None).unwrap();
        file.write().unwrap();
        assert!(fs::read_to_string(&real).unwrap().contains("ssh://far"));
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
    }
}
