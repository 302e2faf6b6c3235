-- Where a repository came from: hostd_core::upstream::Upstream as JSON; NULL: as its clone says.
ALTER TABLE repositories ADD COLUMN upstream TEXT;
