//! Further names for what a suspended session consists of: its layers and the files of its snapshot never change, so whoever is
//! made from them has names of its own for them, and neither minds what becomes of the other's.

use std::{
    io,
    path::{Path, PathBuf},
};

use tokio::fs;

/// Gives a file another name, if it is there.
pub(in crate::sessions) async fn one(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Gives the files of a folder names in another one, which is made.
pub(in crate::sessions) async fn files(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to).await?;
    let mut files = fs::read_dir(from).await?;
    while let Some(file) = files.next_entry().await? {
        fs::hard_link(file.path(), to.join(file.file_name())).await?;
    }
    Ok(())
}

/// Gives those of the layers that lie in the folder `own` names in the folder `to`; the chain by these.
pub(in crate::sessions) async fn layers(layers: &[PathBuf], own: &Path, to: &Path) -> io::Result<Vec<PathBuf>> {
    let mut chain = Vec::with_capacity(layers.len());
    for layer in layers {
        chain.push(match layer.file_name().filter(|_| layer.starts_with(own)) {
            Some(name) => {
                let linked = to.join(name);
                fs::hard_link(layer, &linked).await?;
                linked
            }
            None => layer.clone(),
        });
    }
    Ok(chain)
}
