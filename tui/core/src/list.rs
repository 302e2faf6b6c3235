//! A list with headings: what is selected stays selected while the rows around it change.

/// A row of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row<H, K> {
    /// A heading, which is never selected.
    Head(H),
    /// An item, by its key.
    Item(K),
    /// The line of this number, from 0, that belongs to the item above it, by the item's key. It is never selected.
    Below(K, usize),
}

/// A list of things known by their keys, under headings.
#[derive(Clone, Debug)]
pub struct List<H, K> {
    rows: Vec<Row<H, K>>,
    /// Number of the row of the selected item; meaningless without items.
    at: usize,
    /// Number of the first row that is shown.
    offset: usize,
    /// The selected key, kept while it is gone for a moment.
    selected: Option<K>,
}

impl<H, K> Default for List<H, K> {
    fn default() -> Self {
        Self { rows: Vec::new(), at: 0, offset: 0, selected: None }
    }
}

impl<H, K: Clone + PartialEq> List<H, K> {
    /// Every row of the list.
    #[must_use]
    pub fn rows(&self) -> &[Row<H, K>] {
        &self.rows
    }

    /// The first row that is shown and those after it, as many as fit in `height` rows.
    #[must_use]
    pub fn shown(&self, height: usize) -> &[Row<H, K>] {
        let end = (self.offset + height).min(self.rows.len());
        self.rows.get(self.offset..end).unwrap_or_default()
    }

    /// The selected key.
    #[must_use]
    pub fn selected(&self) -> Option<&K> {
        self.item(self.at)
    }

    /// Number of the first row that is shown.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Number of items in the list.
    #[must_use]
    pub fn items(&self) -> usize {
        self.rows.iter().filter(|row| matches!(row, Row::Item(_))).count()
    }

    fn item(&self, at: usize) -> Option<&K> {
        match self.rows.get(at) {
            Some(Row::Item(key)) => Some(key),
            _ => None,
        }
    }

    /// Takes new rows. The selected key stays selected; where it is gone, whatever stands in its place is.
    pub fn set(&mut self, rows: Vec<Row<H, K>>) {
        self.rows = rows;
        let found = self.selected.as_ref().and_then(|key| self.find(key));
        let at = found.unwrap_or_else(|| self.nearest(self.at));
        self.go(at);
    }

    fn find(&self, key: &K) -> Option<usize> {
        self.rows.iter().position(|row| matches!(row, Row::Item(k) if k == key))
    }

    /// Number of the item's row at this row, else the next below, else the next above.
    fn nearest(&self, at: usize) -> usize {
        let below = (at..self.rows.len()).find(|&n| self.item(n).is_some());
        below.or_else(|| (0..at.min(self.rows.len())).rev().find(|&n| self.item(n).is_some())).unwrap_or(0)
    }

    fn go(&mut self, at: usize) {
        self.at = at;
        if let Some(key) = self.item(at) {
            self.selected = Some(key.clone());
        }
    }

    /// Selects this key, now or when it comes.
    pub fn select(&mut self, key: K) {
        if let Some(at) = self.find(&key) {
            self.at = at;
        }
        self.selected = Some(key);
    }

    /// Moves the selection by this many items; stops at the ends.
    pub fn step(&mut self, by: isize) {
        let mut at = self.at;
        for _ in 0..by.unsigned_abs() {
            let next = if by > 0 {
                (at + 1..self.rows.len()).find(|&n| self.item(n).is_some())
            } else {
                (0..at.min(self.rows.len())).rev().find(|&n| self.item(n).is_some())
            };
            match next {
                Some(next) => at = next,
                None => break,
            }
        }
        self.go(at);
    }

    /// Moves the selection to the next item, or where there is none to the previous.
    pub fn step_aside(&mut self) {
        let at = self.at;
        self.step(1);
        if self.at == at {
            self.step(-1);
        }
    }

    /// Moves the selection to the first item.
    pub fn top(&mut self) {
        self.offset = 0;
        let at = self.nearest(0);
        self.go(at);
    }

    /// Moves the selection to the last item.
    pub fn bottom(&mut self) {
        let at = self.nearest(self.rows.len());
        self.go(at);
    }

    /// Moves the selection to the first item under the next heading, or the previous one.
    pub fn step_group(&mut self, forward: bool) {
        let head = |row: &Row<H, K>| matches!(row, Row::Head(_));
        let own = (0..self.at.min(self.rows.len())).rev().find(|&n| head(&self.rows[n]));
        let to = if forward {
            (self.at + 1..self.rows.len()).find(|&n| head(&self.rows[n]))
        } else {
            // At a group's first item go to the group before, else to this first item.
            own.and_then(
                |own| if self.at > own + 1 { Some(own) } else { (0..own).rev().find(|&n| head(&self.rows[n])) },
            )
        };
        if let Some(to) = to {
            let at = self.nearest(to);
            self.go(at);
        }
    }

    /// Moves the selection to the next item that is `wanted`, around the end.
    pub fn step_to(&mut self, wanted: impl Fn(&K) -> bool) {
        let all = self.rows.len();
        let found = (1..=all).map(|n| (self.at + n) % all).find(|&n| self.item(n).is_some_and(&wanted));
        if let Some(at) = found {
            self.go(at);
        }
    }

    /// Scrolls so that the selected item, the heading right above it and as many of the lines below it as there is room for are seen
    /// in `height` rows.
    pub fn settle(&mut self, height: usize) {
        let height = height.max(1);
        let first = match self.at.checked_sub(1).and_then(|above| self.rows.get(above)) {
            Some(Row::Head(_)) if height > 1 => self.at - 1,
            _ => self.at,
        };
        let below = self.rows.iter().skip(self.at + 1).take_while(|row| matches!(row, Row::Below(..))).count();
        let end = (self.at + 1 + below).min(first + height).max(self.at + 1);
        if first < self.offset {
            self.offset = first;
        } else if end > self.offset + height {
            self.offset = end - height;
        }
        self.offset = self.offset.min(self.rows.len().saturating_sub(height));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(rows: &str) -> List<(), char> {
        let mut list = List::default();
        set(&mut list, rows);
        list
    }

    fn set(list: &mut List<(), char>, rows: &str) {
        let row = |c| match c {
            '-' => Row::Head(()),
            '.' => Row::Below('.', 0),
            c => Row::Item(c),
        };
        list.set(rows.chars().map(row).collect());
    }

    #[test]
    fn the_selected_item_stays_selected_wherever_it_goes() {
        let mut list = list("-ab-cd");
        assert_eq!(list.selected(), Some(&'a'));
        list.step(2);
        assert_eq!(list.selected(), Some(&'c'));
        set(&mut list, "-c-abd");
        assert_eq!(list.selected(), Some(&'c'));
        set(&mut list, "-a-bd");
        assert_eq!(list.selected(), Some(&'a'), "what stands in its place");
        set(&mut list, "");
        assert_eq!(list.selected(), None);
    }

    #[test]
    fn moving_stops_at_the_ends_and_skips_headings() {
        let mut list = list("-ab-cd");
        list.step(100);
        assert_eq!(list.selected(), Some(&'d'));
        list.step(-100);
        assert_eq!(list.selected(), Some(&'a'));
        list.step_group(true);
        assert_eq!(list.selected(), Some(&'c'));
        list.step(1);
        list.step_group(false);
        assert_eq!(list.selected(), Some(&'c'));
        list.step_group(false);
        assert_eq!(list.selected(), Some(&'a'));
        list.step_to(|c| *c == 'd');
        assert_eq!(list.selected(), Some(&'d'));
    }

    #[test]
    fn lines_below_an_item_are_never_selected_and_are_seen_with_it() {
        let mut list = list("-a..b-c.d");
        list.step(1);
        assert_eq!(list.selected(), Some(&'b'));
        list.step(1);
        list.settle(3);
        assert_eq!(list.shown(3), [Row::Head(()), Row::Item('c'), Row::Below('.', 0)]);
        list.step(-100);
        list.settle(2);
        assert_eq!(list.shown(2), [Row::Head(()), Row::Item('a')], "the item itself goes first");
        list.step_group(true);
        assert_eq!((list.selected(), list.items()), (Some(&'c'), 4));
        set(&mut list, "-a..");
        assert_eq!(list.selected(), Some(&'a'));
    }

    #[test]
    fn what_is_selected_is_shown_with_its_heading() {
        let mut list = list("-abcdefgh-ij");
        list.bottom();
        list.settle(4);
        assert_eq!(list.shown(4), [Row::Item('h'), Row::Head(()), Row::Item('i'), Row::Item('j')]);
        list.step(-100);
        list.settle(4);
        assert_eq!(list.shown(4)[0], Row::Head(()));
    }
}
