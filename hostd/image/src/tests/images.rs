use proptest::prelude::*;

use super::*;

fn device(name: &str, kind: u8, major: &str, minor: &str) -> Vec<u8> {
    let mut header = header(name, kind, 0);
    header[329..329 + major.len()].copy_from_slice(major.as_bytes());
    header[337..337 + minor.len()].copy_from_slice(minor.as_bytes());
    sealed(header)
}

fn owned(name: &str, mode: &str, uid: &str, gid: &str) -> Vec<u8> {
    let mut header = header(name, b'0', 1);
    header[100..100 + mode.len()].copy_from_slice(mode.as_bytes());
    header[108..108 + uid.len()].copy_from_slice(uid.as_bytes());
    header[116..116 + gid.len()].copy_from_slice(gid.as_bytes());
    [sealed(header), padded(b"x".to_vec())].concat()
}

#[test]
fn whiteouts_drop_what_is_below_and_nothing_of_their_own_layer() {
    let below = layer(&[
        folder("a"),
        file("a/one", "1"),
        file("a/two", "2"),
        folder("b"),
        file("b/old", "o"),
        folder("b/sub"),
        file("b/sub/deep", "d"),
        folder("c"),
        file("c/x", "x"),
        file("gone", "g"),
        link(b'2', "way", "a"),
    ]);
    let above = layer(&[
        // Before and behind what they are beside.
        file("a/.wh.one", ""),
        file("b/new", "n"),
        folder("b"),
        file("b/.wh..wh..opq", ""),
        file("b/sub/kept", "k"),
        file(".wh.gone", ""),
        file("c/y", "y"),
        file(".wh.c", ""),
        file(".wh..wh.plnk", ""),
        file(".wh.never", ""),
        file("nowhere/.wh.never", ""),
    ]);
    let written = Fixture::new(&[below, above]).written();
    assert_eq!(written.names("/"), ["a", "b", "c", "way"]);
    assert_eq!(
        (written.names("/a"), written.names("/b"), written.names("/c")),
        (vec!["two".into()], vec!["new".into(), "sub".into()], vec!["y".into()])
    );
    assert_eq!(written.names("/b/sub"), ["kept"]);
}

#[test]
fn later_layers_win_and_links_stay_what_they_were() {
    let below = layer(&[
        file("text", "old"),
        link(b'1', "twin", "text"),
        folder("dir"),
        file("dir/in", "in"),
        file("file", "was a file"),
        link(b'2', "lib", "usr/lib"),
        folder("usr/lib"),
        link(b'2', "out", "/../../../var"),
    ]);
    let above = layer(&[
        file("text", "new"),
        file("dir", "is a file"),
        folder("file"),
        file("file/in", "in a folder"),
        // Through a link, within the image.
        file("lib/a", "by a link"),
        file("out/b", "kept inside"),
        // Of a file of a lower layer.
        link(b'1', "late", "twin"),
        file("/absolute", "abs"),
        file("./dotted//twice", "dots"),
    ]);
    let written = Fixture::new(&[below, above]).written();
    assert_eq!(
        (written.cat("/text"), written.cat("/twin"), written.cat("/late")),
        ("new".into(), "old".into(), "old".into())
    );
    written.says("/twin", &["Links: 2"]);
    written.says("/lib", &["Type: symlink", "Fast link dest: \"usr/lib\""]);
    for (path, text) in [
        ("/dir", "is a file"),
        ("/file/in", "in a folder"),
        ("/usr/lib/a", "by a link"),
        ("/var/b", "kept inside"),
        ("/absolute", "abs"),
        ("/dotted/twice", "dots"),
    ] {
        assert_eq!(written.cat(path), text, "{path}");
    }
}

#[test]
fn owners_modes_devices_times_and_attributes_are_kept() {
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let many: Vec<Vec<u8>> =
        (0..3000).map(|number| file(&format!("many/a-name-of-some-length-{number}"), "")).collect();
    let big = "0123456789abcdef".repeat(1 << 16);
    let image = layer(&[
        owned("suid", "0004755\0", "0001750\0", "0003720\0"),
        // Beyond 16 bits: in octal digits, and in GNU's bytes.
        owned("far", "0000600\0", "7261336\0", "\u{0}"),
        pax(&[("uid", b"4000000000"), ("gid", b"70000"), ("mtime", b"4102444800.5")]),
        file("farther", ""),
        device("null", b'3', "0000001\0", "0000003\0"),
        device("disk", b'4', "0000403\0", "0002000\0"),
        sealed(header("pipe", b'6', 0)),
        pax(&[
            ("SCHILY.xattr.security.capability", &capability),
            ("SCHILY.xattr.user.mine", b"words"),
            ("SCHILY.xattr.security.selinux", b"left out"),
        ]),
        file("able", ""),
        file("big", &big),
        folder("many"),
        many.concat(),
        folder("lost+found"),
        file("lost+found/x", "x"),
    ]);
    let written = Fixture::new(&[image]).written();
    written.says("/suid", &["Mode: 04755", "User: 1000", "Group: 2000"]);
    written.says("/far", &["User: 1925854", "Mode: 0600"]);
    written.says("/farther", &["User: -294967296", "Group: 70000", "mtime: 0xf4865700:77359401", "2100"]);
    written.says("/null", &["Type: character special", "number: 01:03"]);
    written.says("/disk", &["Type: block special", "number: 259:1024"]);
    written.says("/pipe", &["Type: FIFO"]);
    let attributes = written.ask("ea_list /able");
    assert!(
        attributes.contains("user.mine (5) = \"words\"") && attributes.contains("security.capability (20)"),
        "{attributes}"
    );
    assert!(!attributes.contains("selinux"));
    assert_eq!(written.names("/many").len(), 3000);
    assert!(written.cat("/big") == big);
    assert_eq!(written.names("/lost+found"), Vec::<String>::new());
}

#[test]
fn programs_go_on_top_and_change_no_folder() {
    let mut fixture = Fixture::new(&[layer(&[
        {
            let mut root = header("./", b'5', 0);
            root[100..108].copy_from_slice(b"0000711\0");
            sealed(root)
        },
        folder("usr"),
        folder("bin"),
        link(b'2', "usr/local", "../opt/local"),
        folder("opt/local"),
        {
            let mut opt = header("opt", b'5', 0);
            opt[100..108].copy_from_slice(b"0000700\0");
            sealed(opt)
        },
    ])]);
    let programs = fixture.folder.path().join("programs");
    fs::write(
        &programs,
        layer(&[
            folder("./"),
            folder("usr/local"),
            folder("opt"),
            file("usr/local/tool", "t"),
            file("opt/.wh.x", "kept"),
        ]),
    )
    .unwrap();
    fixture.programs = Some(programs);
    let written = fixture.written();
    written.says("/", &["Mode: 0711"]);
    written.says("/opt", &["Mode: 0700"]);
    assert_eq!((written.cat("/opt/local/tool"), written.cat("/opt/.wh.x")), ("t".into(), "kept".into()));
}

#[test]
fn texts_are_read_and_files_put_in() {
    let fixture = Fixture::new(&[
        layer(&[file("etc/passwd", "old"), file("before", "b")]),
        layer(&[file("x", "x"), owned("etc/passwd", "0000640\0", "0000007\0", "0000007\0"), file("bin/tool", "")]),
    ]);
    let image = fixture.image();
    let mut tree = image.tree().unwrap();
    assert_eq!(image.text(&tree, "/etc/passwd").unwrap().as_deref(), Some(&b"x"[..]));
    assert_eq!((image.text(&tree, "/etc").unwrap(), image.text(&tree, "/nothing").unwrap()), (None, None));
    tree.put_file("/etc/passwd", b"mine".to_vec(), 0o644).unwrap();
    tree.put_file("/etc/new/file", b"new".to_vec(), 0o600).unwrap();
    tree.make_folder("/tmp/x", 0o1777).unwrap();
    tree.make_folder("/etc", 0o700).unwrap();
    tree.remove("/before");
    assert!(!tree.has_program("/bin/tool") && !tree.has_program("/bin"));
    assert_eq!(image.text(&tree, "/etc/passwd").unwrap().as_deref(), Some(&b"mine"[..]));
    let path = fixture.make(&tree);
    image.write(&tree, &File::options().read(true).write(true).open(&path).unwrap()).unwrap();
    assert!(run("e2fsck", &["-f", "-n", path.to_str().unwrap()]).0);
    let written = Written { path, _folder: fixture.folder.clone() };
    written.says("/etc/passwd", &["Mode: 0640", "User: 7"]);
    written.says("/etc/new/file", &["Mode: 0600"]);
    written.says("/tmp/x", &["Mode: 01777"]);
    written.says("/etc", &["Mode: 0755"]);
    assert_eq!(written.names("/"), ["bin", "etc", "tmp", "x"]);
}

#[test]
fn a_file_with_many_holes_has_an_index() {
    let pieces: Vec<String> = (0..900).map(|number| format!("{},1", number * 8192)).collect();
    let claims = pax(&[("GNU.sparse.realsize", b"8000000"), ("GNU.sparse.map", pieces.join(",").as_bytes())]);
    let written = Fixture::new(&[layer(&[claims, file("a", &"y".repeat(900))])]).written();
    let text = written.cat("/a");
    assert_eq!((text.len(), text.matches('y').count(), text.as_bytes()[8192 * 899]), (8_000_000, 900, b'y'));
}

#[test]
fn a_disk_of_many_groups_is_filled_across_them() {
    // Of 128 MiB a group has less, since its own tables are in it.
    let text = "x".repeat(150 << 20);
    let written = Fixture::new(&[layer(&[file("a", &text), file("b", "behind it")])]).written();
    assert!(written.cat("/a") == text);
    assert_eq!(written.cat("/b"), "behind it");
}

/// One entry of a layer, out of few names, so that they meet.
fn entry() -> impl Strategy<Value = Vec<u8>> {
    let path = proptest::collection::vec(
        prop_oneof!["[abc]", Just(".wh.a".into()), Just(".wh.b".into()), Just(".wh..wh..opq".into())],
        1..4,
    );
    let path = path.prop_map(|names: Vec<String>| names.join("/"));
    (path, 0..5u8, "[abc/]{1,5}").prop_map(|(path, kind, to)| match kind {
        0 => folder(&path),
        1 => file(&path, &to),
        2 => link(b'2', &path, &to),
        3 => link(b'1', &path, &to),
        _ => file(&path, &"z".repeat(5000)),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever layers say, it is refused, or a file system in which e2fsck finds nothing.
    #[test]
    fn any_layers_make_a_sound_file_system(layers in proptest::collection::vec(proptest::collection::vec(entry(), 0..12), 1..4)) {
        // Entry by entry, so that one that is refused takes nothing else with it.
        let mut kept: Vec<Vec<Vec<u8>>> = vec![];
        for entries in layers {
            kept.push(vec![]);
            for entry in entries {
                kept.last_mut().unwrap().push(entry);
                let all: Vec<Vec<u8>> = kept.iter().map(|entries| layer(entries)).collect();
                if Fixture::new(&all).image().tree().is_err() {
                    kept.last_mut().unwrap().pop();
                }
            }
        }
        let all: Vec<Vec<u8>> = kept.iter().map(|entries| layer(entries)).collect();
        Fixture::new(&all).written();
    }
}
