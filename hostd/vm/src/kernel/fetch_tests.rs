use std::sync::Mutex;

use super::*;
use crate::program::put_script;

const RELEASE: &str = "6.1.0-9-cloud-amd64";

/// A folder of scripts that play apt, dpkg-deb, depmod and modprobe; each writes its call to `calls`.
struct Fakes {
    folder: TempDir,
}

impl Fakes {
    fn new() -> Self {
        let fakes = Self { folder: tempfile::tempdir().unwrap() };
        fakes.put("apt-cache", &format!("echo {META}; echo '  Depends: linux-image-{RELEASE}'"));
        fakes.put("apt-get", "echo deb > kernel.deb");
        fakes.put(
            "dpkg-deb",
            &format!(
                "mkdir -p $3/boot $3/lib/modules/{RELEASE}/kernel; echo image > $3/boot/vmlinuz-{RELEASE}; \
                      for m in a b c; do echo $m > $3/lib/modules/{RELEASE}/kernel/$m.ko; done"
            ),
        );
        fakes.put("depmod", "true");
        fakes.put(
            "modprobe",
            "k=$2/lib/modules/$4/kernel; case $6 in virtio_mmio) echo insmod $k/b.ko; echo \"insmod $k/a.ko \";; \
             overlay) echo insmod $k/c.ko;; virtio_blk) echo builtin x;; *) echo insmod $k/b.ko;; esac",
        );
        fakes
    }

    fn put(&self, name: &str, script: &str) {
        put_script(&self.folder.path().join(name), &format!("PATH=/usr/bin:/bin\n{script}"));
    }

    fn kernels(&self) -> PathBuf {
        self.folder.path().join("data/kernel")
    }

    async fn fetch(&self, source: Source) -> Result<Vec<String>, VmError> {
        let lines = Mutex::new(Vec::new());
        let search = Search { path: Some(self.folder.path().into()) };
        let progress = |line| lines.lock().unwrap().push(line);
        Fetch { folder: &self.kernels(), search: &search, progress: &progress }.run(&source).await?;
        Ok(lines.into_inner().unwrap())
    }
}

#[tokio::test]
async fn keeps_the_image_and_the_modules_in_order() {
    let fakes = Fakes::new();
    let lines = fakes.fetch(Source::Apt).await.unwrap();
    assert!(lines[0].starts_with("fetching linux-image-6.1.0-9-cloud-amd64"), "{lines:?}");
    let kernel = crate::kernel::newest(&fakes.kernels()).unwrap();
    assert_eq!(kernel.release, RELEASE);
    assert_eq!(fs::read_to_string(&kernel.image).unwrap(), "image\n");
    let names: Vec<_> = kernel.modules.iter().map(|m| m.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    assert_eq!(names, ["00-b.ko", "01-a.ko", "02-c.ko"]);
    assert_eq!(fs::read_dir(fakes.kernels()).unwrap().count(), 1, "temporary files are left");
    let tree = fakes.kernels().join(RELEASE).join("tree");
    let kept = || fs::read_to_string(tree.join("lib/modules").join(RELEASE).join("kernel/a.ko")).unwrap();
    assert_eq!(kept(), "a\n");
    fakes.fetch(Source::Apt).await.unwrap();
    // One without the tree gets it, and keeps the rest.
    fs::remove_dir_all(&tree).unwrap();
    fs::write(&kernel.image, "booted before").unwrap();
    fakes.fetch(Source::Apt).await.unwrap();
    assert_eq!((kept(), fs::read_to_string(&kernel.image).unwrap()), ("a\n".into(), "booted before".into()));
}

#[tokio::test]
async fn takes_a_local_package_or_folder_and_replaces_stale_ones() {
    let fakes = Fakes::new();
    let stale = fakes.kernels().join(RELEASE);
    fs::create_dir_all(&stale).unwrap();
    fs::write(stale.join("complete"), "0 nothing").unwrap();
    let deb = fakes.folder.path().join("my.deb");
    fs::write(&deb, "").unwrap();
    fakes.fetch(Source::Local(deb)).await.unwrap();
    assert!(crate::kernel::newest(&fakes.kernels()).is_some());

    let error = fakes.fetch(Source::Local(fakes.folder.path().into())).await.unwrap_err().to_string();
    assert!(error.contains("no vmlinuz-RELEASE"), "{error}");
}

#[tokio::test]
async fn says_what_to_do_and_leaves_nothing() {
    let fakes = Fakes::new();
    fakes.put("apt-get", "echo 'E: Unable to fetch' >&2; exit 100");
    let error = fakes.fetch(Source::Apt).await.unwrap_err().to_string();
    assert!(error.contains("run `apt-get update`") && error.contains("E: Unable to fetch"), "{error}");
    fakes.put("apt-cache", "echo 'E: No packages found' >&2; exit 100");
    let error = fakes.fetch(Source::Apt).await.unwrap_err().to_string();
    assert!(error.contains("run `apt-get update`"), "{error}");
    fs::remove_file(fakes.folder.path().join("apt-cache")).unwrap();
    let error = fakes.fetch(Source::Apt).await.unwrap_err().to_string();
    assert!(error.contains("install it (apt)"), "{error}");
    assert_eq!(fs::read_dir(fakes.kernels()).unwrap().count(), 0);
}
