//! Numbers of inodes that are the same in each file system.

/// Number of the root's inode.
pub(super) const ROOT_INODE: u32 = 2;
/// Number of the first inode that is nobody's, behind that of `lost+found`.
pub(super) const FIRST_INODE: u32 = 12;
/// Number of the inode of `lost+found`, which e2fsck wants, and mke2fs makes.
pub(super) const LOST_AND_FOUND: (&[u8], u32) = (b"lost+found", 11);
