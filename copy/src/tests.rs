use std::{
    ffi::OsStr,
    fs::{self, Permissions},
    io::{self, Write as _},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, PermissionsExt as _, symlink},
        net::UnixListener,
    },
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rstest::rstest;
use tempfile::TempDir;

use crate::{
    DEPTH_MAX, Error, Options, Place, Tally, receive, send,
    wire::{self, DATA_MAX, End, Entry, Hardlink, Leave, Part, Symlink},
};

const KEEP: Options = Options { replace: false, bytes_max: 1 << 30 };
const REPLACE: Options = Options { replace: true, ..KEEP };

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn sent(path: &Path) -> (Vec<u8>, u64, Vec<String>) {
    let (mut bytes, mut told) = (Vec::new(), Vec::new());
    let mut tell = |path: &Path, what: &str| told.push(format!("{}: {what}", path.display()));
    let unread = send(path, &mut bytes, &Tally::default(), &mut tell).unwrap();
    (bytes, unread, told)
}

fn received(mut bytes: &[u8], at: &Path, options: Options) -> Result<u64, Error> {
    receive(&mut bytes, &Place::of(at, OsStr::new("copy")).unwrap(), options, &Tally::default())
}

fn bytes_of(parts: impl IntoIterator<Item = Part>) -> Vec<u8> {
    let mut bytes = Vec::new();
    parts.into_iter().for_each(|part| wire::write(&mut bytes, part).unwrap());
    bytes
}

/// Names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn set(path: &Path, mode: u32, seconds: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    fs::File::open(path).unwrap().set_modified(time).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_folder_arrives_as_it_was() {
    let (from, to) = (folder(), folder());
    let tree = from.path().join("tree");
    fs::create_dir_all(tree.join("deep/er")).unwrap();
    let large: Vec<u8> = (0..3 * DATA_MAX as u32 / 4 + 1).flat_map(u32::to_le_bytes).collect();
    fs::write(tree.join("deep/large"), &large).unwrap();
    fs::write(tree.join("empty"), "").unwrap();
    fs::write(tree.join(OsStr::from_bytes(b"n\xffme\n")), "named").unwrap();
    fs::hard_link(tree.join("deep/large"), tree.join("same")).unwrap();
    symlink("/nowhere/at all", tree.join("link")).unwrap();
    set(&tree.join("empty"), 0o4751, 1_000_000_000);
    // Read-only, it is filled all the same.
    set(&tree.join("deep"), 0o555, 1_100_000_000);
    let (bytes, unread, told) = sent(&tree);
    assert_eq!((unread, told), (0, vec![]));

    let tally = Tally::default();
    let place = Place::of(to.path(), OsStr::new("copy")).unwrap();
    assert_eq!(receive(&mut &*bytes, &place, KEEP, &tally).unwrap(), 0);
    let copy = to.path().join("copy");
    assert_eq!(place.path(), copy);
    assert_eq!((tally.files(), tally.folders(), tally.links()), (4, 3, 1));
    assert_eq!(tally.bytes(), large.len() as u64 + 5);
    assert_eq!(names(to.path()), ["copy"]);
    assert_eq!(fs::read_dir(&copy).unwrap().count(), 5);
    assert_eq!(fs::read(copy.join("deep/large")).unwrap(), large);
    assert_eq!(fs::read(copy.join(OsStr::from_bytes(b"n\xffme\n"))).unwrap(), b"named");
    assert_eq!(fs::read_link(copy.join("link")).unwrap(), PathBuf::from("/nowhere/at all"));
    let found = |name: &str| fs::symlink_metadata(copy.join(name)).unwrap();
    // Whoever copies gives nobody their own rights.
    assert_eq!((found("empty").mode() & 0o7777, found("empty").mtime()), (0o751, 1_000_000_000));
    assert_eq!((found("deep").mode() & 0o7777, found("deep").mtime()), (0o555, 1_100_000_000));
    assert_eq!((found("same").ino(), found("same").nlink()), (found("deep/large").ino(), 2));
    for tree in [&tree, &copy] {
        fs::set_permissions(tree.join("deep"), Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn a_link_that_is_named_is_followed() {
    let (from, to) = (folder(), folder());
    fs::write(from.path().join("file"), "here").unwrap();
    symlink("file", from.path().join("link")).unwrap();
    received(&sent(&from.path().join("link")).0, to.path(), KEEP).unwrap();
    assert!(fs::symlink_metadata(to.path().join("copy")).unwrap().is_file());
}

#[test]
fn what_cannot_be_copied_is_left_out_and_told() {
    let (from, to) = (folder(), folder());
    let _socket = UnixListener::bind(from.path().join("socket")).unwrap();
    let deep = |count| from.path().join(PathBuf::from_iter(std::iter::repeat_n("d", count)));
    // The copied folder itself is one of them.
    fs::create_dir_all(deep(DEPTH_MAX)).unwrap();
    fs::write(deep(DEPTH_MAX - 1).join("file"), "").unwrap();
    let (bytes, unread, mut told) = sent(from.path());
    told.sort();
    assert_eq!((unread, told.len()), (1, 2), "{told:?}");
    assert!(told[0].ends_with("too many folders within each other"), "{told:?}");
    assert!(told[1].ends_with("socket: left out: it is a device, a socket or a pipe"), "{told:?}");
    assert_eq!(received(&bytes, to.path(), KEEP).unwrap(), 1);
    let copy = to.path().join("copy").join(PathBuf::from_iter(std::iter::repeat_n("d", DEPTH_MAX - 1)));
    assert_eq!(names(&copy), ["file"]);
}

#[rstest]
#[case("nothing", "No such file")]
#[case("socket", "neither a file nor a folder")]
fn a_copy_of_nothing_is_none(#[case] name: &str, #[case] want: &str) {
    let from = folder();
    let _socket = UnixListener::bind(from.path().join("socket")).unwrap();
    let mut bytes = Vec::new();
    let error = send(&from.path().join(name), &mut bytes, &Tally::default(), &mut |_, _| ()).unwrap_err().to_string();
    assert!(error.contains(want) && error.contains(name) && bytes.is_empty(), "{error}");
}

#[test]
fn a_place_is_what_cp_would_take() {
    let at = folder();
    let place = |path: &str| Place::of(&at.path().join(path), OsStr::new("name")).map(|place| place.path().to_owned());
    assert_eq!(place("").unwrap(), at.path().join("name"));
    assert_eq!(place("other").unwrap(), at.path().join("other"));
    for wrong in ["other/", "a/b", "a/"] {
        assert!(
            matches!(place(wrong), Err(Error::File { error, .. }) if error.kind() == io::ErrorKind::NotFound),
            "{wrong}"
        );
    }
}

fn file(name: &str, text: &str) -> Vec<Part> {
    let data = [text, ""].map(|text| Part::Data(text.into()));
    [Part::File(entry(name))].into_iter().chain(data).collect()
}

fn entry(name: &str) -> Entry {
    Entry { name: name.into(), mode: 0o644, seconds: 0, nanoseconds: 0 }
}

fn link(name: &str, target: &str) -> Part {
    Part::Symlink(Symlink { name: name.into(), target: target.into() })
}

fn hardlink(name: &str, to: &[&str]) -> Part {
    Part::Hardlink(Hardlink { name: name.into(), to: to.iter().map(|name| name.as_bytes().into()).collect() })
}

const LEAVE: Part = Part::Leave(Leave {});
const END: Part = Part::End(End { unread: 0 });

#[test]
fn what_is_there_stays_unless_it_is_to_be_replaced() {
    let (to, elsewhere) = (folder(), folder());
    let (kept, linked) = (to.path().join("copy"), elsewhere.path().join("linked"));
    fs::write(&linked, "old").unwrap();
    symlink(&linked, &kept).unwrap();
    let bytes = bytes_of(file("", "new").into_iter().chain([END]));
    let error = received(&bytes, to.path(), KEEP).unwrap_err();
    assert!(matches!(&error, Error::Exists(path) if path == Path::new("copy")), "{error}");
    assert_eq!((fs::read_link(&kept).unwrap(), names(to.path()).len()), (linked.clone(), 1));
    // The link is replaced, not what it leads to.
    received(&bytes, to.path(), REPLACE).unwrap();
    assert_eq!((&*fs::read(&kept).unwrap(), &*fs::read(&linked).unwrap()), (&b"new"[..], &b"old"[..]));
    assert!(fs::symlink_metadata(&kept).unwrap().is_file());
    assert_eq!(names(to.path()), ["copy"]);
}

#[test]
fn folders_that_are_there_are_filled_and_never_replaced() {
    let to = folder();
    fs::create_dir_all(to.path().join("copy/both")).unwrap();
    set(&to.path().join("copy"), 0o700, 7);
    let inner = [Part::Enter(entry("")), Part::Enter(entry("both"))];
    let parts = inner.into_iter().chain(file("new", "x")).chain([LEAVE, LEAVE, END]);
    received(&bytes_of(parts), to.path(), KEEP).unwrap();
    assert_eq!(names(&to.path().join("copy/both")), ["new"]);
    assert_eq!(fs::metadata(to.path().join("copy")).unwrap().mode() & 0o777, 0o700);
    let error = received(&bytes_of(file("", "x").into_iter().chain([END])), to.path(), REPLACE).unwrap_err();
    assert!(matches!(error, Error::Exists(_)), "{error}");
}

#[rstest]
#[case::above(vec![Part::Enter(entry("")), Part::Enter(entry("..")), LEAVE])]
#[case::itself(vec![Part::Enter(entry("")), Part::Enter(entry(".")), LEAVE])]
#[case::nameless(vec![Part::Enter(entry("")), Part::Enter(entry("")), LEAVE])]
#[case::slashed([vec![Part::Enter(entry(""))], file("../out", "x")].concat())]
#[case::absolute([vec![Part::Enter(entry(""))], file("/tmp/pilothouse-out", "x")].concat())]
#[case::by_a_link([vec![Part::Enter(entry("")), link("l", ".."), Part::Enter(entry("l"))], file("out", "x")].concat())]
#[case::onto_a_link([vec![Part::Enter(entry("")), link("l", "../out")], file("l", "x")].concat())]
#[case::hard_by_a_link(vec![Part::Enter(entry("")), link("l", ".."), hardlink("h", &["l", "bystander"])])]
#[case::hard_to_a_link(vec![Part::Enter(entry("")), link("l", "../bystander"), hardlink("h", &["l"])])]
#[case::hard_to_above(vec![Part::Enter(entry("")), hardlink("h", &["..", "bystander"])])]
#[case::hard_to_nothing(vec![Part::Enter(entry("")), hardlink("h", &[])])]
#[case::hard_by_itself(vec![hardlink("h", &["bystander"])])]
#[case::link_by_itself(vec![link("l", "bystander")])]
#[case::two([file("", "x"), file("", "x")].concat())]
#[case::data(vec![Part::Data(vec![1])])]
#[case::left_before(vec![LEAVE])]
#[case::ended_within(vec![Part::Enter(entry("")), END])]
#[case::file_within_a_file([vec![Part::File(entry(""))], file("", "x")].concat())]
#[case::no_time(vec![Part::Enter(Entry { nanoseconds: 1_000_000_000, ..entry("") })])]
#[case::too_deep([vec![Part::Enter(entry(""))], vec![Part::Enter(entry("d")); DEPTH_MAX]].concat())]
fn nothing_leads_out_of_the_place(#[case] parts: Vec<Part>, #[values(KEEP, REPLACE)] options: Options) {
    let to = folder();
    fs::write(to.path().join("bystander"), "old").unwrap();
    let bytes = bytes_of(parts.into_iter().chain([END]));
    match received(&bytes, to.path(), options) {
        // With `replace` the link is replaced by the file.
        Ok(_) => panic!("it is whole"),
        Err(Error::Malformed(_) | Error::Exists(_)) => {}
        Err(Error::File { error, .. }) => {
            let errno = rustix::io::Errno::from_io_error(&error).unwrap();
            assert!(matches!(errno, rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR), "{error}");
        }
        Err(error) => panic!("{error}"),
    }
    let mut left = names(to.path());
    left.retain(|name| name != "copy");
    assert_eq!((left, &*fs::read(to.path().join("bystander")).unwrap()), (vec!["bystander".to_owned()], &b"old"[..]));
    assert_eq!(fs::metadata(to.path().join("bystander")).unwrap().nlink(), 1);
}

/// What a merged folder had before is not the sender's to give another name.
#[test]
fn what_was_there_before_gets_no_other_name() {
    let to = folder();
    fs::create_dir(to.path().join("copy")).unwrap();
    fs::write(to.path().join("copy/.env"), "secret").unwrap();
    let bytes = bytes_of([Part::Enter(entry("")), hardlink("report.html", &[".env"]), LEAVE, END]);
    let error = received(&bytes, to.path(), REPLACE).unwrap_err();
    assert!(matches!(error, Error::Malformed(_)), "{error}");
    assert_eq!(names(&to.path().join("copy")), [".env"]);
}

#[test]
fn a_file_is_whole_or_not_there() {
    let to = folder();
    let bytes = bytes_of([Part::Enter(entry(""))].into_iter().chain(file("f", "x")).chain(file("g", "y")));
    for length in 0..bytes.len() {
        let to = folder();
        let error = received(&bytes[..length], to.path(), KEEP).unwrap_err();
        assert!(matches!(error, Error::Cut(_)), "{error}");
        for name in names(to.path()).first().map(|_| names(&to.path().join("copy"))).unwrap_or_default() {
            assert!(matches!(&*fs::read(to.path().join("copy").join(&name)).unwrap(), b"x" | b"y"), "{name}");
        }
    }
    // What is whole stays; but it is no copy without its last frame.
    assert!(matches!(received(&bytes, to.path(), KEEP), Err(Error::Cut(_))));
    assert_eq!(names(&to.path().join("copy")), ["f", "g"]);
}

#[rstest]
#[case::long_frame(&[0x80, 0x80, 0x7f])]
#[case::endless_length(&[0xff, 0xff, 0xff, 0xff])]
#[case::empty(&[0])]
#[case::unknown(&[2, 0x7a, 0])]
#[case::garbage(&[3, 0x22, 0xff, 0xff])]
fn garbage_is_told_as_that(#[case] bytes: &[u8]) {
    let error = wire::read(&mut [bytes, &[0; 16]].concat().as_slice()).unwrap_err();
    assert!(matches!(error, Error::Malformed(_)), "{error}");
}

#[test]
fn a_copy_that_is_too_large_ends() {
    let (from, to) = (folder(), folder());
    fs::File::create(from.path().join("large")).unwrap().write_all(&[7; 100 << 10]).unwrap();
    let bytes = sent(from.path()).0;
    let limited = |bytes_max| received(&bytes, to.path(), Options { replace: true, bytes_max });
    // Each entry costs something, too.
    assert!(matches!(limited(108 << 10), Ok(0)));
    fs::remove_dir_all(to.path().join("copy")).unwrap();
    assert!(matches!(limited((108 << 10) - 1), Err(Error::TooLarge(_))));
    assert_eq!(names(&to.path().join("copy")), Vec::<String>::new());
}
