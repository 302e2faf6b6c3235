//! Which requests ask a model for an answer, and how its API says no.

use serde_json::{Value, json};

/// An API of models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelApi {
    /// Anthropic's Messages.
    Messages,
    /// OpenAI's Responses and Chat Completions, and others of that shape.
    OpenAi,
    /// Gemini's `generateContent` and `streamGenerateContent`.
    Gemini,
}

impl ModelApi {
    /// The API that a POST to this path asks for an answer; None: the path is of none that is known.
    #[must_use]
    pub fn of(path: &str) -> Option<Self> {
        let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        match last {
            "messages" => Some(Self::Messages),
            "responses" | "compact" | "completions" | "embeddings" => Some(Self::OpenAi),
            _ => match last.rsplit_once(':')?.1 {
                "generateContent" | "streamGenerateContent" => Some(Self::Gemini),
                _ => None,
            },
        }
    }

    /// Status and JSON body of an answer that says why there is none, in the API's own shape: one that programs show, and after which
    /// they do not ask again by themselves. Codex 0.171 asks five times more after 402 and 403, and not after 400.
    #[must_use]
    pub fn refusal(self, why: &str) -> (u16, String) {
        let (status, body): (_, Value) = match self {
            Self::Messages => (402, json!({ "type": "error", "error": { "type": "billing_error", "message": why } })),
            Self::OpenAi => {
                let error =
                    json!({ "message": why, "type": "insufficient_quota", "param": null, "code": "budget_used_up" });
                (400, json!({ "error": error }))
            }
            Self::Gemini => (400, json!({ "error": { "code": 400, "message": why, "status": "FAILED_PRECONDITION" } })),
        };
        (status, body.to_string())
    }
}
