//! A host's own agent profiles: `agents/NAME.toml` of the data folder, over the shipped ones.

use std::{io, path::Path};

use hostd_core::{profile::Profiles, recipe::RecipeError};
use tokio::{fs, io::AsyncReadExt as _};

use super::{
    files::{self, at},
    types::EnvironmentError,
};

/// Most bytes that are read of a profile: one more than a profile may have, so that it is refused and not cut.
const TEXT_MAX: u64 = (256 << 10) + 1;
/// Most profiles of a host's own.
const PROFILES_MAX: usize = 256;

/// Reads all profiles. One that is wrong is in there with what is wrong with it; it hides the shipped one all the same.
pub(super) async fn read(folder: &Path) -> Result<Profiles, EnvironmentError> {
    let mut profiles = Profiles::shipped().clone();
    let names = files::names(folder).await?;
    for name in names.iter().filter_map(|name| name.strip_suffix(".toml")).take(PROFILES_MAX) {
        let path = folder.join(format!("{name}.toml"));
        let source = path.to_string_lossy();
        match text(&path).await {
            Ok(Some(text)) => profiles.put(name, &source, &text),
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let error = RecipeError {
                    source_name: source.into_owned(),
                    line: 1,
                    column: 1,
                    message: "it is no text in UTF-8".into(),
                };
                profiles.put_error(name, error);
            }
            Err(error) => return Err(at(path)(error)),
        }
    }
    Ok(profiles)
}

/// The text of a file; None: it is gone, or no file.
async fn text(path: &Path) -> io::Result<Option<String>> {
    let file = match fs::metadata(path).await {
        Ok(metadata) if metadata.is_file() => fs::File::open(path).await?,
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(TEXT_MAX).read_to_string(&mut text).await?;
    Ok(Some(text))
}
