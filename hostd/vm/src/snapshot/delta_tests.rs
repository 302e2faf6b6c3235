use std::io::Read as _;

use super::*;

fn runs(pairs: &[(u64, u64)]) -> Vec<Run> {
    pairs.iter().map(|&(first, count)| Run { first, count }).collect()
}

#[test]
fn page_map_entries_become_runs() {
    let (present, file, swapped) = (1u64 << 63, 1u64 << 63 | 1 << 61, 1u64 << 62);
    let entries: Vec<u8> =
        [0, present, present, file, swapped, 0, present].iter().flat_map(|e| e.to_le_bytes()).collect();
    let mut found = Vec::new();
    collect(&mut found, 0, &entries[..16]);
    collect(&mut found, 2, &entries[16..]);
    assert_eq!(found, runs(&[(1, 2), (4, 1), (6, 1)]));
}

#[test]
fn runs_without_others() {
    let all = runs(&[(0, 4), (6, 2), (10, 10), (30, 1)]);
    for (part, rest) in [
        (runs(&[]), all.clone()),
        (all.clone(), runs(&[])),
        (runs(&[(0, 100)]), runs(&[])),
        (
            runs(&[(1, 1), (3, 4), (12, 2), (16, 1), (50, 1)]),
            runs(&[(0, 1), (2, 1), (7, 1), (10, 2), (14, 2), (17, 3), (30, 1)]),
        ),
        (runs(&[(4, 2), (8, 2), (20, 10)]), all.clone()),
    ] {
        assert_eq!(without(&all, &part), rest, "{part:?}");
    }
    assert_eq!(without(&[], &all), vec![]);
}

#[test]
fn an_index_reads_back_and_a_bad_one_is_refused() {
    let good = runs(&[(0, 1), (5, 10), (100, 1)]);
    let bytes = 128 * PAGE;
    assert_eq!(read_index(&index(bytes, &good), bytes).unwrap(), good);
    for bad in
        [runs(&[(5, 1), (4, 1)]), runs(&[(0, 0)]), runs(&[(127, 2)]), runs(&[(u64::MAX, 2)]), runs(&[(3, 4), (5, 1)])]
    {
        assert!(read_index(&index(bytes, &bad), bytes).is_err(), "{bad:?}");
    }
    let whole = index(bytes, &good);
    assert!(read_index(&whole, bytes * 2).is_err());
    for bad in [&whole[..30], &whole[..HEAD + RUN], &whole[..3], b""] {
        assert!(read_index(bad, bytes).is_err(), "{bad:?}");
    }
    assert!(read_index(&[&whole[..], &[0]].concat(), bytes).is_err());
}

#[test]
fn frames_have_all_pages_in_order() {
    let all = runs(&[(0, 3), (10, 200), (500, 1)]);
    let frames = frames(&all);
    let counts: Vec<_> = frames.iter().map(|frame| bytes_of(frame) as u64 / PAGE).collect();
    assert_eq!(counts, [64, 64, 64, 12]);
    assert_eq!(frames[0], runs(&[(0, 3), (10, 61)]));
    let pages = |runs: &[Run]| runs.iter().flat_map(|run| run.first..run.first + run.count).collect::<Vec<_>>();
    assert_eq!(frames.iter().flat_map(|frame| pages(frame)).collect::<Vec<_>>(), pages(&all));
    assert!(super::frames(&[]).is_empty());
}

/// A child process that maps a file privately and writes some pages stands for QEMU.
#[test]
fn written_pages_of_a_process_go_out_and_into_another() {
    let folder = tempfile::tempdir().unwrap();
    let template = folder.path().join("ram");
    std::fs::write(&template, vec![7u8; 64 * PAGE as usize]).unwrap();
    let mut first = Mapped::start(&template);
    first.touch(&[3, 4, 9]);
    let ram = first.ram(64 * PAGE);
    assert_eq!(ram.written().unwrap(), runs(&[(3, 2), (9, 1)]));
    let file = folder.path().join("delta");
    let saved = ram.save(&file, None).unwrap();
    assert_eq!(saved.pages, 3);
    verify(&file, &saved.hash).unwrap();

    // What was written as it was before is no difference: here all but one, with their neighbours in one run.
    let mut like = vec![7u8; 64 * PAGE as usize];
    like[3 * PAGE as usize] = 0xaa;
    like[9 * PAGE as usize] = 0xaa;
    std::fs::write(folder.path().join("like"), like).unwrap();
    let less = folder.path().join("less");
    assert_eq!(ram.save(&less, Some(&folder.path().join("like"))).unwrap().pages, 1);
    let third = Mapped::start(&template);
    assert_eq!(third.ram(64 * PAGE).load(&less).unwrap(), runs(&[(4, 1)]));

    let second = Mapped::start(&template);
    let other = second.ram(64 * PAGE);
    assert_eq!(other.written().unwrap(), vec![]);
    let loaded = other.load(&file).unwrap();
    assert_eq!(loaded, other.written().unwrap());
    let mut page = [0; 4];
    other.memory.read_exact_at(&mut page, other.base + 9 * PAGE).unwrap();
    assert_eq!(page, [0xaa, 7, 7, 7]);

    let whole = std::fs::read(&file).unwrap();
    for bad in [&whole[..0], &whole[..9], &whole[..20], &whole[..whole.len() - 1], &[&whole[..], b"x"].concat()] {
        let path = folder.path().join("bad");
        std::fs::write(&path, bad).unwrap();
        assert!(matches!(other.load(&path), Err(SnapshotError::Damaged { .. })), "{} bytes", bad.len());
    }

    let mut damaged = whole;
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    std::fs::write(&file, damaged).unwrap();
    assert!(matches!(verify(&file, &saved.hash), Err(SnapshotError::Damaged { .. })));
}

struct Mapped {
    child: std::process::Child,
    base: u64,
}

impl Mapped {
    fn start(file: &Path) -> Self {
        let program = "import ctypes, mmap, sys\n\
            f = open(sys.argv[1], 'r+b'); m = mmap.mmap(f.fileno(), 0, flags=mmap.MAP_PRIVATE)\n\
            print(ctypes.addressof(ctypes.c_char.from_buffer(m)), flush=True)\n\
            for line in sys.stdin: m[int(line) * 4096] = 0xaa; print('ok', flush=True)\n";
        let mut child = std::process::Command::new("python3")
            .args(["-c", program])
            .arg(file)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let base = Self::line(&mut child).parse().unwrap();
        Self { child, base }
    }

    fn line(child: &mut std::process::Child) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        while child.stdout.as_mut().unwrap().read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap()
    }

    fn touch(&mut self, pages: &[u64]) {
        for page in pages {
            writeln!(self.child.stdin.as_mut().unwrap(), "{page}").unwrap();
            assert_eq!(Self::line(&mut self.child), "ok");
        }
    }

    fn ram(&self, bytes: u64) -> Ram {
        Ram::open(self.child.id(), self.base, bytes).unwrap()
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
