//! Archives as the kernel unpacks them into its first root: cpio, format `newc`.

/// Kind and permission bits of a folder's entry.
const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;

/// Builds an archive in memory. Names are relative, without a leading slash; a folder comes before what is in it.
#[derive(Debug, Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    pub(super) fn folder(&mut self, name: &str) {
        self.entry(name, FOLDER, &[]);
    }

    pub(super) fn program(&mut self, name: &str, content: &[u8]) {
        self.entry(name, PROGRAM, content);
    }

    /// Returns the archive with its end mark.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let links = if mode == FOLDER { 2 } else { 1 };
        // The format has 32 bits for a size; the kernel refuses larger files anyway, and ours are a thousandth of that.
        let size = u32::try_from(content.len()).unwrap_or(u32::MAX);
        let name_size = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
        // inode, mode, uid, gid, links, mtime, size, device (2), special device (2), name size, checksum
        let fields = [self.entries, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_headers_names_and_padding() {
        let mut archive = Archive::default();
        archive.folder("dev");
        archive.program("init", b"hello");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8(bytes).unwrap().replace('\0', ".");
        let zero = "00000000";
        let head = |inode, mode, links, size, name| {
            format!(
                "0707010000000{inode}{mode}{zero}{zero}0000000{links}{zero}0000000{size}{zero}{zero}{zero}{zero}{name:08x}{zero}"
            )
        };
        let folder = head(1, "000041ed", 2, 0, 4) + "dev...";
        let program = head(2, "000081ed", 1, 5, 5) + "init." + "." + "hello...";
        let end = head(3, "00000000", 1, 0, 11) + "TRAILER!!!....";
        assert_eq!(text, folder + &program + &end);
    }
}
