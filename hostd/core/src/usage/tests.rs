use proptest::prelude::*;
use rstest::rstest;

use super::*;

const MESSAGES: &str = r#"event: message_start
data: {"type":"message_start","message":{"id":"m","model":"claude-opus-4-5","content":[],"usage":{"input_tokens":25,"cache_creation_input_tokens":3,"cache_read_input_tokens":7,"output_tokens":1}}}

event: content_block_delta
data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"\"usage\":{\"input_tokens\":999999}"}}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":15}}

"#;
const RESPONSES: &str = r#"data: {"type":"response.created","response":{"model":"gpt-5.5","usage":null}}

data: {"type":"response.completed","response":{"model":"gpt-5.5","usage":{"input_tokens":100,"input_tokens_details":{"cached_tokens":60},"output_tokens":9,"output_tokens_details":{"reasoning_tokens":4},"total_tokens":109}}}

"#;
const CHAT: &str = r#"{"id":"c","model": "gpt-5.4","choices":[{"message":{"content":"x"}}],"usage" : {"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":0}}}"#;
const GEMINI: &str = r#"data: {"candidates":[],"usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":2},"modelVersion":"gemini-3-pro"}

data: {"candidates":[],"usageMetadata":{"promptTokenCount":10,"cachedContentTokenCount":4,"candidatesTokenCount":7,"thoughtsTokenCount":3,"totalTokenCount":20},"modelVersion":"gemini-3-pro"}
"#;

/// A list, as Gemini streams it to whoever does not ask for events; over several lines.
const GEMINI_JSON: &str = "[{\n  \"candidates\": [],\n  \"usageMetadata\": {\n    \"promptTokenCount\": 10,\n    \"toolUsePromptTokenCount\": 5,\n    \"thoughtsTokenCount\": 2\n  },\n  \"modelVersion\": \"gemini-3-pro\"\n}]";
/// Messages, of which the last event says all of it once more.
const CUMULATIVE: &str = r#"data: {"type":"message_start","message":{"model":"m","usage":{"input_tokens":0,"output_tokens":0}}}
data: {"type":"message_delta","usage":{"input_tokens":30,"cache_read_input_tokens":20,"output_tokens":9}}
"#;

fn tokens(input: u64, cache_read: u64, cache_write: u64, output: u64) -> Tokens {
    Tokens { input, cache_read, cache_write, output }
}

fn read(answer: &str, piece: usize) -> (Option<Tokens>, String) {
    let mut scanner =
        Scanner::new(if answer.starts_with('{') || answer.starts_with('[') { Framing::Json } else { Framing::Events });
    for piece in answer.as_bytes().chunks(piece.max(1)) {
        scanner.push(piece);
    }
    (scanner.tokens(), scanner.model().to_owned())
}

#[rstest]
#[case(MESSAGES, tokens(25, 7, 3, 15), "claude-opus-4-5")]
#[case(RESPONSES, tokens(40, 60, 0, 9), "gpt-5.5")]
#[case(CHAT, tokens(10, 0, 0, 5), "gpt-5.4")]
#[case(GEMINI, tokens(6, 4, 0, 10), "gemini-3-pro")]
#[case(GEMINI_JSON, tokens(15, 0, 0, 2), "gemini-3-pro")]
#[case(CUMULATIVE, tokens(30, 20, 0, 9), "m")]
fn each_shape_is_read_however_it_is_cut(#[case] answer: &str, #[case] expected: Tokens, #[case] model: &str) {
    for piece in [1, 2, 7, 64, answer.len()] {
        assert_eq!(read(answer, piece), (Some(expected), model.to_owned()), "in pieces of {piece}");
    }
}

#[rstest]
#[case(r#"{"choices":["usage"],"usage":null}"#)]
#[case(r#"{"text":"\"usage\":{\"input_tokens\":5}"}"#)]
#[case(r#"{"usage":{"bytes":5}}"#)]
#[case(r#"{"usage":[{"input_tokens":5}]}"#)]
#[case::said_by_the_model(r#"{"content":[{"type":"tool_use","input":{"usage":{"input_tokens":5}}}]}"#)]
#[case::repeated_from_the_request(
    r#"{"tools":[{"properties":{"usage":{"input_tokens":5}}}],"metadata":{"usage":{"input_tokens":5}}}"#
)]
#[case::deeper_in_a_wrapper(r#"{"response":{"output":[{"usage":{"input_tokens":5}}]}}"#)]
#[case("not JSON at all \" usage { ")]
fn what_is_no_usage_is_not_taken_for_it(#[case] answer: &str) {
    assert_eq!(read(answer, 3).0, None);
}

#[rstest]
#[case::messages(
    "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n",
    "overloaded_error"
)]
#[case::responses(
    r#"data: {"type":"response.failed","response":{"status":"failed","error":{"type":"rate_limit_exceeded","message":"in 2s"}}}"#,
    "rate_limit_exceeded"
)]
#[case::whole(r#"{"error":{"message":"no","type":"insufficient_quota"}}"#, "insufficient_quota")]
#[case::none(r#"{"error":null,"content":[{"error":{"type":"said by the model"}}]}"#, "")]
#[case::of_a_tool(r#"{"output":{"error":{"type":"a tool's"}}}"#, "")]
fn errors_are_read_however_they_are_cut(#[case] answer: &str, #[case] expected: &str) {
    for piece in [1, 2, 7, answer.len()] {
        let mut scanner = Scanner::new(if answer.starts_with('{') { Framing::Json } else { Framing::Events });
        answer.as_bytes().chunks(piece).for_each(|piece| scanner.push(piece));
        let said = scanner.error().and_then(|error| error["type"].as_str()).unwrap_or_default();
        assert_eq!(said, expected, "in pieces of {piece}");
    }
}

#[test]
fn what_is_too_long_is_passed_over_and_the_rest_is_read() {
    let long = format!(
        r#"{{"usage":{{"x":"{}"}},"usage":{{"input_tokens":5}},"model":"{}"}}"#,
        "y".repeat(20_000),
        "m".repeat(500)
    );
    assert_eq!(read(&long, 100), (Some(tokens(5, 0, 0, 0)), String::new()));
}

#[test]
fn prices_are_found_by_name_and_add_up() {
    let prices = Prices::shipped();
    assert!(prices.models.len() > 100 && prices.date.starts_with("20"));
    let table = "date = '2026-01-02'\nmodel = [{ name = 'a', input = 1.0, output = 2.0 }, \
                 { name = 'a*', input = 10.0, output = 20.0, cache_read = 0.5, cache_write = 4.0 }]";
    let prices = Prices::parse("x", table).unwrap();
    let million = tokens(1_000_000, 2_000_000, 1_000_000, 1_000_000);
    assert_eq!(prices.micros("a", &million), Some(6_000_000), "cached tokens cost as others where nothing is said");
    assert_eq!(prices.micros("a-2", &million), Some(35_000_000));
    assert_eq!(prices.micros("b", &million), None);
    assert_eq!(prices.micros("a-2", &tokens(1, 0, 0, 0)), Some(10));
}

#[rstest]
#[case("date = 'today'", "x:1:8: date is \"today\"; allowed: a date such as 2026-11-29")]
#[case("date = '2026-01-02'\nmodel = [{ name = 'a', input = -1.0, output = 2.0 }]", "x:2:32: a price is in US dollars")]
#[case("date = '2026-01-02'\nmodel = [{ name = 'a', input = 1.0 }]", "x:2:10: missing key `output`")]
fn bad_tables_are_refused(#[case] table: &str, #[case] expected: &str) {
    let error = Prices::parse("x", table).unwrap_err().to_string();
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn a_budget_bounds_requests_that_are_made_at_a_time() {
    let mut account = Account { budget: Some(1600), ..Account::default() };
    let mut begun = 0;
    while account.admission() == Admission::Now {
        (account.under_way, begun) = (account.under_way + 1, begun + 1);
    }
    assert_eq!((begun, account.admission()), (16, Admission::Later), "a sixteenth each, while nothing dearer is known");
    account.charge(500);
    account.under_way = 2;
    assert_eq!((account.reserve(), account.admission()), (500, Admission::Now));
    account.under_way = 3;
    assert_eq!(account.admission(), Admission::Later, "three of 500 each fill it up");
    account.under_way = 0;
    account.charge(1099);
    assert_eq!(account.admission(), Admission::Now, "one at a time is never kept from what is left");
    account.charge(1);
    assert_eq!(account.admission(), Admission::Never);
    account.budget = Some(2000);
    assert_eq!(account.admission(), Admission::Now);
    account.budget = None;
    assert_eq!((account.admission(), account.reserve()), (Admission::Now, 0));
}

proptest! {
    /// However many requests are under way at a time, where none costs more than it reserves.
    #[test]
    fn a_budget_is_exceeded_by_less_than_one_request_reserves(budget in 1..5000u64, cost in 1..400u64, steps in proptest::collection::vec(any::<bool>(), 0..200)) {
        let mut account = Account { budget: Some(budget), dearest: cost, ..Account::default() };
        for begins in steps {
            if begins && account.admission() == Admission::Now {
                account.under_way += 1;
            } else if !begins && account.under_way > 0 {
                account.under_way -= 1;
                account.charge(cost);
            }
        }
        prop_assert!(account.spent + account.under_way * cost < budget + account.reserve());
    }
}

#[rstest]
#[case("/v1/messages", Some(ModelApi::Messages))]
#[case("/api/v1/messages/", Some(ModelApi::Messages))]
#[case("/v1/messages/count_tokens", None)]
#[case("/v1/chat/completions", Some(ModelApi::OpenAi))]
#[case("/backend-api/codex/responses", Some(ModelApi::OpenAi))]
#[case("/v1beta/models/gemini-3-pro:streamGenerateContent", Some(ModelApi::Gemini))]
#[case("/v1beta/models/gemini-3-pro:countTokens", None)]
#[case("/repos/me/widgets/pulls", None)]
fn requests_to_models_are_known_by_their_paths(#[case] path: &str, #[case] api: Option<ModelApi>) {
    assert_eq!(ModelApi::of(path), api);
}

#[rstest]
#[case(0, "$0")]
#[case(1, "$0.0001")]
#[case(7_500_000, "$7.50")]
#[case(1_234_567, "$1.24")]
#[case(2_000_000, "$2")]
fn amounts_are_in_dollars(#[case] micros: u64, #[case] said: &str) {
    assert_eq!(dollars(micros), said);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for framing in [Framing::Json, Framing::Events] {
            Scanner::new(framing).push(&bytes);
        }
    }

    #[test]
    fn no_near_miss_makes_it_panic(at in 0..MESSAGES.len(), length in 0..40usize, with in "[ -~\n]{0,8}") {
        let text = format!("{}{with}{}", &MESSAGES[..at], &MESSAGES[(at + length).min(MESSAGES.len())..]);
        read(&text, 5);
    }
}
