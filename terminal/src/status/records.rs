//! What a terminal keeps of its programs' reports.

use std::collections::BTreeMap;

use super::{Kind, Record, Report, State};

/// Most records that are kept; the one that was updated least recently makes room.
pub const RECORDS_MAX: usize = 256;

/// Records of one terminal, each by its id; that of the root is empty.
#[derive(Clone, Debug, Default)]
pub struct Records {
    kept: BTreeMap<String, Kept>,
    /// Number of reports that were taken.
    reports: u64,
    revision: u64,
    /// See [`Records::begun`].
    begun: u64,
}

#[derive(Clone, Debug)]
struct Kept {
    record: Record,
    /// Number of the report that last named the record.
    last: u64,
    /// Number of the report that made the record what it is.
    made: u64,
}

impl Records {
    /// Takes a report.
    pub fn take(&mut self, report: Report) {
        self.reports += 1;
        match report {
            Report::Query => {}
            Report::Clear(id) if id.is_empty() => self.reset(),
            Report::Clear(id) => self.keep(|of, _| *of != id && !is_below(of, &id)),
            Report::Set(id, record) => self.set(id, record),
        }
    }

    fn set(&mut self, id: String, record: Record) {
        let last = self.reports;
        let works = |record: &Record| record.state == State::Working;
        self.begun += u64::from(id.is_empty() && works(&record) && !self.get(&id).is_some_and(works));
        if let Some(kept) = self.kept.get_mut(&id) {
            kept.last = last;
            if kept.record != record {
                (kept.record, kept.made) = (record, last);
                self.revision += 1;
            }
            return;
        }
        if self.kept.len() >= RECORDS_MAX
            && let Some(oldest) = self.kept.iter().min_by_key(|(_, kept)| kept.last).map(|(id, _)| id.clone())
        {
            self.kept.remove(&oldest);
        }
        self.kept.insert(id, Kept { record, last, made: last });
        self.revision += 1;
    }

    /// A shell's prompt begins, or the terminal's process has ended: of what was reported only results stay.
    pub fn settle(&mut self) {
        self.keep(|_, record| matches!(record.state, State::Done | State::Error));
    }

    /// The terminal was reset: nothing stays.
    pub fn reset(&mut self) {
        self.keep(|_, _| false);
    }

    fn keep(&mut self, mut stays: impl FnMut(&String, &Record) -> bool) {
        let before = self.kept.len();
        self.kept.retain(|id, kept| stays(id, &kept.record));
        self.revision += u64::from(self.kept.len() != before);
    }

    /// Number that rises with each change of what is kept. A report that says what its record says changes nothing.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Number of times that the root has begun to work, past ones that were read again apart.
    #[must_use]
    pub fn begun(&self) -> u64 {
        self.begun
    }

    /// What was taken so far was past.
    pub(crate) fn past(&mut self) {
        self.begun = 0;
    }

    /// The record of this id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Record> {
        self.kept.get(id).map(|kept| &kept.record)
    }

    /// Number of the report that made the record of this id what it is: another one each time that it changes, also back to what
    /// it was before. 0: there is no such record.
    #[must_use]
    pub fn made_by(&self, id: &str) -> u64 {
        self.kept.get(id).map_or(0, |kept| kept.made)
    }

    /// All records with their ids, the root first, then by id.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Record)> {
        self.kept.iter().map(|(id, kept)| (id.as_str(), &kept.record))
    }

    /// Name of a record's program: its own, else that of the nearest record above it that has one.
    #[must_use]
    pub fn app(&self, id: &str) -> &str {
        let mut at = id;
        loop {
            match self.get(at).map(|record| record.app.as_str()) {
                Some(app) if !app.is_empty() => return app,
                _ if at.is_empty() => return "",
                _ => at = at.rsplit_once('/').map_or("", |(above, _)| above),
            }
        }
    }

    /// The record that says what the terminal's program is doing, with its id; None: no record is kept.
    ///
    /// A record that waits for a person comes first, wherever it stands, since nobody else can make it go on. Else the root
    /// speaks for all below it. Where there is no root, a record that works comes before results, and these before rest.
    #[must_use]
    pub fn foremost(&self) -> Option<(&str, &Record)> {
        let blocked = |record: &Record| matches!(record.state, State::Blocked(_));
        let rank = |(id, record): &(&str, &Record)| match record.state {
            State::Blocked(Some(Kind::Auth)) => 0,
            State::Blocked(Some(Kind::Permission)) => 1,
            State::Blocked(_) => 2,
            _ if id.is_empty() => 3,
            State::Working => 4,
            State::Error => 5,
            State::Done => 6,
            State::Idle => 7,
        };
        let root = self.get("").filter(|record| blocked(record)).map(|record| ("", record));
        root.or_else(|| self.iter().min_by_key(rank))
    }
}

fn is_below(id: &str, above: &str) -> bool {
    id.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::{super::parse, *};

    fn after(bodies: &[&str]) -> Records {
        let mut records = Records::default();
        for body in bodies {
            records.take(parse(format!("\x1b]7501;{body}\x07").as_bytes()).unwrap());
        }
        records
    }

    fn ids(records: &Records) -> Vec<&str> {
        records.iter().map(|(id, _)| id).collect()
    }

    #[test]
    fn a_report_replaces_its_record_whole() {
        let records = after(&["state=working:progress=5:title=aGk", "state=working:id=a", "state=working"]);
        assert_eq!(ids(&records), ["", "a"]);
        assert_eq!((records.get("").unwrap().progress, &*records.get("").unwrap().title), (None, ""));
    }

    #[test]
    fn it_is_counted_how_often_the_root_begins_to_work() {
        let turns = [
            "state=working",
            "state=working:msg=aGk",
            "state=idle",
            "state=working:id=a",
            "state=working",
            "state=idle",
        ];
        let mut records = after(&turns);
        assert_eq!(records.begun(), 2);
        records.past();
        assert_eq!((records.begun(), records.get("").map(|root| root.state)), (0, Some(State::Idle)));
    }

    #[test]
    fn a_clear_takes_a_record_and_those_below_it() {
        let all = ["state=idle", "state=idle:id=a", "state=idle:id=a/b", "state=idle:id=ab"];
        assert_eq!(ids(&after(&[&all[..], &["state=clear:id=a"]].concat())), ["", "ab"]);
        assert_eq!(ids(&after(&[&all[..], &["state=clear:id=a/b"]].concat())), ["", "a", "ab"]);
        assert!(ids(&after(&[&all[..], &["state=clear"]].concat())).is_empty());
    }

    #[test]
    fn only_results_outlive_the_process() {
        let mut records =
            after(&["state=idle", "state=working:id=a", "state=blocked:id=b", "state=done:id=c", "state=error:id=d"]);
        records.settle();
        assert_eq!(ids(&records), ["c", "d"]);
        records.reset();
        assert!(ids(&records).is_empty());
    }

    #[test]
    fn the_least_recently_updated_makes_room() {
        let mut records = after(&["state=working"]);
        for n in 0..RECORDS_MAX + 10 {
            for body in [format!("state=idle:id=r{n}"), "state=working".into()] {
                records.take(parse(format!("\x1b]7501;{body}\x07").as_bytes()).unwrap());
            }
        }
        assert_eq!(records.iter().count(), RECORDS_MAX);
        assert!(records.get("").is_some() && records.get("r10").is_none() && records.get("r11").is_some());
    }

    #[test]
    fn what_changes_nothing_is_no_news() {
        let mut records = after(&["state=working", "state=working:id=a"]);
        let known = records.revision();
        records.take(parse(b"\x1b]7501;state=working:id=a\x07").unwrap());
        records.take(parse(b"\x1b]7501;?\x07").unwrap());
        records.take(parse(b"\x1b]7501;state=clear:id=b\x07").unwrap());
        assert_eq!(records.revision(), known);
        records.settle();
        assert!(records.revision() > known);
    }

    #[test]
    fn a_question_that_is_asked_again_is_another_one() {
        let mut records = after(&["state=blocked:kind=permission"]);
        let first = records.made_by("");
        records.take(parse(b"\x1b]7501;state=blocked:kind=permission\x07").unwrap());
        assert_eq!((records.made_by(""), records.made_by("a")), (first, 0), "it is said twice");
        for body in ["state=working", "state=blocked:kind=permission"] {
            records.take(parse(format!("\x1b]7501;{body}\x07").as_bytes()).unwrap());
        }
        assert!(records.made_by("") > first);
    }

    #[test]
    fn a_program_is_named_by_the_nearest_record_above() {
        let records =
            after(&["state=idle:app=root", "state=idle:id=a:app=mid", "state=idle:id=a/b/c", "state=idle:id=d"]);
        assert_eq!([records.app("a/b/c"), records.app("d"), records.app("")], ["mid", "root", "root"]);
        assert_eq!(after(&["state=idle:id=a"]).app("a"), "");
    }

    #[rstest]
    #[case(&[], None)]
    #[case(&["state=working", "state=idle:id=a"], Some(""))]
    #[case(&["state=working", "state=blocked:kind=permission:id=a/b"], Some("a/b"))]
    #[case(&["state=blocked:kind=question", "state=blocked:kind=auth:id=a"], Some(""))]
    #[case(&["state=blocked:id=a", "state=blocked:kind=permission:id=b"], Some("b"))]
    #[case(&["state=done", "state=working:id=a"], Some(""))]
    #[case(&["state=done:id=a", "state=working:id=b", "state=error:id=c"], Some("b"))]
    #[case(&["state=idle:id=a", "state=done:id=b", "state=error:id=c"], Some("c"))]
    fn which_record_speaks(#[case] bodies: &[&str], #[case] expected: Option<&str>) {
        assert_eq!(after(bodies).foremost().map(|(id, _)| id), expected);
    }

    proptest! {
        #[test]
        fn never_more_than_there_is_room_for(reports in prop::collection::vec(("(state=(idle|done|blocked|clear):?)(id=[a-d]{1,3}(/[a-d]){0,2})?", any::<u8>()), 0..600)) {
            let mut records = Records::default();
            for (body, chance) in reports {
                let report = parse(format!("\x1b]7501;{body}\x07").as_bytes());
                match chance {
                    0..4 => records.settle(),
                    4 => records.reset(),
                    _ => report.into_iter().for_each(|report| records.take(report)),
                }
                prop_assert!(records.iter().count() <= RECORDS_MAX);
                prop_assert_eq!(records.foremost().is_some(), records.iter().count() > 0);
            }
        }
    }
}
