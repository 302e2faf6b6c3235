use std::{fs, io::Write as _, os::unix::fs::FileExt as _};

use proptest::prelude::*;
use rstest::rstest;

use super::*;

/// A folder with a bit of everything that a user may make.
fn sample() -> TempDir {
    let sample = tempfile::tempdir().unwrap();
    let at = |name: &str| sample.path().join(name);
    let long = format!("{}/{}", "d".repeat(120), "n".repeat(200));
    fs::create_dir(at(&"d".repeat(120))).unwrap();
    fs::write(at(&long), "long").unwrap();
    fs::write(at("small"), "small").unwrap();
    fs::hard_link(at("small"), at("twin")).unwrap();
    std::os::unix::fs::symlink("t".repeat(150), at("far")).unwrap();
    let holes = File::create(at("holes")).unwrap();
    holes.set_len(40 << 20).unwrap();
    for number in 0..30 {
        holes.write_all_at(format!("piece {number}").as_bytes(), number << 20).unwrap();
    }
    sample
}

#[rstest]
#[case::gnu(&["--format=gnu", "--sparse"])]
#[case::oldgnu(&["--format=oldgnu", "--sparse"])]
#[case::dense(&["--format=gnu"])]
#[case::pax(&["--format=posix"])]
#[case::holes_0_0(&["--format=posix", "--sparse", "--sparse-version=0.0"])]
#[case::holes_0_1(&["--format=posix", "--sparse", "--sparse-version=0.1"])]
#[case::holes_1_0(&["--format=posix", "--sparse", "--sparse-version=1.0"])]
fn what_tar_writes_is_read(#[case] options: &[&str]) {
    let sample = sample();
    let written = Fixture::new(&[tar(sample.path(), options)]).written();
    let long = format!("/{}/{}", "d".repeat(120), "n".repeat(200));
    assert_eq!(
        (written.cat(&long), written.cat("/small"), written.cat("/twin")),
        ("long".into(), "small".into(), "small".into())
    );
    written.says("/small", &["Links: 2", "Size: 5"]);
    written.says("/far", &["Type: symlink", "Size: 150"]);
    written.says("/holes", &[&format!("Size: {}", 40 << 20)]);
    let out = sample.path().join("out");
    written.ask(&format!("dump /holes {}", out.display()));
    assert!(fs::read(out).unwrap() == fs::read(sample.path().join("holes")).unwrap());
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn layers_are_packed_in_any_of_three_ways() {
    let of = |name: &str| layer(&[file(name, name)]);
    let two = of("members");
    let (first, second) = two.split_at(700);
    let written = Fixture::new(&[
        of("plain"),
        gzip(&of("gzip")),
        [gzip(first), gzip(second)].concat(),
        zstd::encode_all(&of("zstd")[..], 3).unwrap(),
        // As zstd:chunked begins.
        [&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4][..], &zstd::encode_all(&of("skipped")[..], 3).unwrap()]
            .concat(),
    ])
    .written();
    assert_eq!(written.names("/"), ["gzip", "members", "plain", "skipped", "zstd"]);
    assert_eq!(written.cat("/members"), "members");
}

#[test]
fn what_is_no_archive_or_cut_off_is_refused() {
    let whole = layer(&[file("a", "text")]);
    let refused = |bytes: &[u8]| Fixture::new(&[bytes.to_vec()]).refused();
    assert!(refused(b"nothing of the kind".repeat(60).as_slice()).contains("layer 1: "));
    assert!(refused(&whole[..300]).contains("middle of a header"));
    assert!(refused(&whole[..514]).contains("middle of a file"));
    assert!(refused(&gzip(&whole)[..40]).contains("cannot be unpacked"));
    let mut damaged = whole.clone();
    damaged[0] = b'b';
    assert!(refused(&damaged).contains("sum is wrong"));
    assert!(Fixture::new(&[vec![]]).image().tree().is_ok());
}

#[rstest]
#[case::upward(vec![file("a/../../b", "x")], "leads upward")]
#[case::upward_in_pax(vec![pax(&[("path", b"../../etc/passwd")]), file("x", "x")], "leads upward")]
#[case::nul(vec![pax(&[("path", b"a\0b")]), file("x", "x")], "NUL")]
#[case::long_name(vec![pax(&[("path", &[b'n'; 256])]), file("x", "x")], "255 bytes")]
#[case::hard_link_upward(vec![link(b'1', "a", "../../etc/shadow")], "leads upward")]
#[case::hard_link_nowhere(vec![link(b'1', "a", "b")], "which is not there")]
#[case::hard_link_of_folder(vec![folder("d"), link(b'1', "a", "d")], "hard link to the folder")]
#[case::below_a_file(vec![file("a", "x"), file("a/b", "x")], "is no folder")]
#[case::below_itself(vec![link(b'2', "a", "a"), file("a/b", "x")], "leads nowhere")]
#[case::in_circles(vec![link(b'2', "a", "b"), link(b'2', "b", "a/x"), file("b/c", "x")], "leads nowhere")]
#[case::kind(vec![sealed(header("a", b'Q', 0))], "kind that is not known")]
#[case::empty_link(vec![link(b'2', "a", "")], "says nothing")]
#[case::huge_pax(vec![sealed(header("p", b'x', 2 << 20))], "at most 1048576")]
#[case::huge_global(vec![sealed(header("p", b'g', 5000))], "at most 4096")]
#[case::huge_file(vec![pax(&[("size", b"18446744073709551615")]), file("a", "x")], "at most 17592186040320 are taken")]
#[case::huge_holes(vec![pax(&[("GNU.sparse.realsize", b"18446744073709551615"), ("GNU.sparse.map", b"18446744073709551614,1")]), file("a", "x")], "at most 17592186040320 are taken")]
#[case::huge_name(vec![sealed(header("p", b'L', 1 << 30))], "at most 4097")]
#[case::headers(vec![vec![pax(&[("comment", b"x")]); 9].concat(), file("a", "")], "more headers than entries")]
#[case::bad_pax(vec![sealed(header("p", b'x', 5)), padded(b"99 a=".to_vec()), file("a", "")], "makes no sense")]
#[case::holes(vec![pax(&[("GNU.sparse.realsize", b"9"), ("GNU.sparse.map", b"0,5,3,2")]), file("a", "1234567")], "map of a file with holes")]
#[case::holes_beyond(vec![pax(&[("GNU.sparse.realsize", b"9"), ("GNU.sparse.map", b"8,7")]), file("a", "1234567")], "map of a file with holes")]
#[case::whiteout(vec![file(".wh...", "")], "names no file")]
#[case::attributes(vec![pax(&[("SCHILY.xattr.user.a", &[b'x'; 4000])]), file("a", "")], "bytes of attributes")]
fn hostile_layers_are_refused(#[case] entries: Vec<Vec<u8>>, #[case] why: &str) {
    let error = Fixture::new(&[layer(&entries)]).refused();
    assert!(error.starts_with("layer 1: ") && error.contains(why), "{error}");
}

#[test]
fn what_asks_for_too_much_is_refused() {
    let mut fixture = Fixture::new(&[layer(&[file("a", ""), file("b", ""), file("c", "")])]);
    fixture.bounds.names = 2;
    assert!(fixture.refused().contains("than are taken"));
    // The same name, again and again, fills no tree.
    let mut fixture = Fixture::new(&[layer(&vec![file("a", ""); 3])]);
    fixture.bounds.names = 2;
    assert!(fixture.refused().contains("more"));
    // What is held in memory: names, texts of links, attributes, pieces of files with holes.
    for entries in [
        vec![file(&"n".repeat(90), "")],
        vec![link(b'2', "a", &"t".repeat(90))],
        vec![pax(&[("SCHILY.xattr.user.a", &[b'x'; 90])]), file("a", "")],
        vec![
            pax(&[("GNU.sparse.realsize", b"12"), ("GNU.sparse.map", b"0,1,2,1,4,1,6,1,8,1,10,1")]),
            file("a", "123456"),
        ],
    ] {
        let mut fixture = Fixture::new(&[layer(&entries)]);
        assert!(fixture.image().tree().is_ok());
        fixture.bounds.memory = 85;
        assert!(fixture.refused().contains("longer than is taken"));
    }
    // 8 MiB of zeros in a few kilobytes.
    let bomb = gzip(&layer(&[sealed(header("a", b'0', 8 << 20)), vec![0; 8 << 20]]));
    let mut fixture = Fixture::new(&[bomb]);
    fixture.bounds.unpacked = 4 << 20;
    assert!(fixture.refused().contains("raise `size.disk`"));
    // What is longer than the disk, by holes too.
    for size in [DISK, DISK / 2 * 3] {
        let claims = pax(&[("GNU.sparse.realsize", size.to_string().as_bytes()), ("GNU.sparse.map", b"0,1")]);
        let fixture = Fixture::new(&[layer(&[claims, file("a", "x")])]);
        fixture.written().says("/a", &[&format!("Size: {size}"), "Blockcount: 8"]);
    }
    let mut fixture = Fixture::new(&[layer(&[sealed(header("a", b'0', DISK as usize)), vec![7; DISK as usize]])]);
    fixture.bounds.unpacked = u64::MAX;
    let (image, path) = (fixture.image(), fixture.make(&fixture.image().tree().unwrap()));
    let tree = image.tree().unwrap();
    let error = image.write(&tree, &File::options().read(true).write(true).open(path).unwrap()).unwrap_err();
    assert!(matches!(error, ImageError::Full(_)), "{error}");
}

#[test]
fn whoever_watches_can_end_it() {
    let mut fixture = Fixture::new(&[layer(&[file("a", &"x".repeat(1 << 20))])]);
    fixture.watch.1 = 1000;
    assert!(is_stopped(&fixture.image().tree().unwrap_err()));
    assert!(fixture.watch.0.load(Ordering::Relaxed) >= 1000);
    // Also where little is read for much.
    let fixture = Fixture::new(&[gzip(&layer(&(0..1000).map(|n| file(&n.to_string(), "")).collect::<Vec<_>>()))]);
    assert!(is_stopped(&Image::new(fixture.layers.clone(), fixture.bounds, &Impatient).tree().unwrap_err()));
}

/// Lets all be read, and wants none of it.
struct Impatient;

impl Watch for Impatient {
    fn goes_on(&self, _: u64) -> bool {
        true
    }

    fn is_ended(&self) -> bool {
        true
    }
}

#[test]
fn a_text_that_is_too_long_is_not_taken_for_one_that_is_not_there() {
    let fixture = Fixture::new(&[layer(&[file("long", &"x".repeat((1 << 20) + 1)), file("short", "x")])]);
    let (image, tree) = (fixture.image(), fixture.image().tree().unwrap());
    assert!(image.text(&tree, "/long").unwrap_err().to_string().contains("its /long has 1048577 bytes"));
    assert_eq!(image.text(&tree, "/short").unwrap().as_deref(), Some(&b"x"[..]));
    assert_eq!(image.text(&tree, "/none").unwrap(), None);
}

#[test]
fn folders_of_programs_heed_links_that_lead_upward() {
    let system = layer(&[folder("usr/lib"), folder("usr/share/lib"), link(b'2', "usr/share/own", "../lib")]);
    let mut fixture = Fixture::new(&[system]);
    let programs = fixture.folder.path().join("programs");
    fs::write(&programs, layer(&[folder("usr/share/own"), file("usr/share/own/tool", "t")])).unwrap();
    fixture.programs = Some(programs);
    let written = fixture.written();
    written.says("/usr/share/own", &["Type: symlink"]);
    assert_eq!((written.names("/usr/lib"), written.names("/usr/share/lib")), (vec!["tool".into()], vec![]));
}

#[test]
fn a_header_about_all_files_says_nothing_of_attributes_and_holes() {
    let mut global =
        pax(&[("uid", b"7"), ("SCHILY.xattr.user.a", b"x"), ("GNU.sparse.major", b"1"), ("GNU.sparse.realsize", b"9")]);
    global[156] = b'g';
    let global = [sealed(global[..512].to_vec()), global[512..].to_vec()].concat();
    let written =
        Fixture::new(&[layer(&[global, file("a", "one"), pax(&[("uid", b"8")]), file("b", "two")])]).written();
    assert_eq!((written.cat("/a"), written.cat("/b")), ("one".into(), "two".into()));
    written.says("/a", &["User: 7"]);
    written.says("/b", &["User: 8"]);
    assert!(!written.ask("stat /a").contains("user.a"));
}

#[test]
fn whiteouts_that_say_the_same_again_change_nothing() {
    let folders: Vec<String> = (0..4).map(|number| format!("d/{number}")).collect();
    let below: Vec<Vec<u8>> = folders.iter().map(|path| file(&format!("{path}/old"), "o")).collect();
    let mut above: Vec<Vec<u8>> = folders.iter().map(|path| file(&format!("{path}/new"), "n")).collect();
    above.push(file("d/.wh.0", ""));
    above.extend(vec![file("d/.wh..wh..opq", ""); 3]);
    above.extend([file("d/0/late", "l"), file(".wh.d", "")]);
    let written = Fixture::new(&[layer(&below), layer(&above)]).written();
    assert_eq!(written.names("/d/0"), ["late", "new"]);
    assert_eq!(written.names("/d/3"), ["new"]);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
        let _ = Fixture::new(&[bytes]).image().tree();
    }

    /// Near misses go deeper than noise.
    #[test]
    fn no_near_miss_makes_it_panic(at in 0..4096usize, with in any::<u8>()) {
        let entries = [
            pax(&[("path", b"long/name"), ("SCHILY.xattr.user.x", b"y"), ("mtime", b"1.5"), ("size", b"3")]),
            file("a", "abc"),
            pax(&[("GNU.sparse.major", b"1"), ("GNU.sparse.realsize", b"9")]),
            file("holes", &format!("1\n0\n3\n{:\0<506}abc", "")),
            link(b'1', "b", "long/name"),
            file("long/.wh.name", ""),
        ];
        let mut bytes = layer(&entries);
        let at = at % bytes.len();
        let header = at / 512 * 512;
        bytes[at] = with;
        // With the right sum, what is in a header is looked at.
        let fixed = sealed(bytes[header..header + 512].to_vec());
        bytes[header..header + 512].copy_from_slice(&fixed);
        let _ = Fixture::new(&[bytes]).image().tree();
    }
}
