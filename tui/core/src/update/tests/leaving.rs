//! Leaving the console: asked about where something ends with it.

use super::*;

#[test]
fn leaving_asks_where_something_ends_with_the_console() {
    let mut state = fleet(SIZE);
    state.ends_with_it = Some("The demo's four microVMs end.".into());
    for keys in ["q", "ctrl-c", ": q u i t enter"] {
        assert_eq!(press(&mut state, keys), [], "{keys}");
        let Some(Dialog::Question(question)) = &state.dialog else { panic!("{keys} asks nothing") };
        assert_eq!((&*question.title, &*question.text), ("Leave the console?", "The demo's four microVMs end."));
        // One `q` too many says no.
        assert_eq!(press(&mut state, "q"), []);
        assert!(state.dialog.is_none());
    }
    assert_eq!(press(&mut state, "q y"), [Effect::Quit]);
}
