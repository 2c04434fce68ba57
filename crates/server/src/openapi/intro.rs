//! What the document says of the whole: how a client proves itself, and how it is answered.

use serde_json::{Value, json};

const DESCRIPTION: &str = "\
Pictures and edits from models of the FLUX family, behind a task API. Run a tool, ask for the task \
until its status is final, fetch the picture from the address in `outputs`.

Every call is a `POST` with a JSON answer, and every answer carries `result` and `errors`. A call that \
is refused because of what it says is answered with HTTP status 200 and `result: false`: look at \
`result`, not at the status. Only bad credentials (401), unknown paths (404), bodies that are too large \
or too slow (413, 408) and a service in trouble (500, 503) have a status of their own.

Ids, sizes, times (unix seconds) and costs are decimal texts. Fields of requests may come as text, \
number, boolean or a list of one of these; `\"\"` counts as not sent. A body whose first letter is `{` \
is read as JSON whatever its `Content-Type` says; multipart and urlencoded forms work everywhere, too. \
Fields that an endpoint does not know are passed over.";

pub(super) fn info() -> Value {
    json!({
        "title": "Tintype",
        "version": env!("CARGO_PKG_VERSION"),
        "summary": "An image service of your own.",
        "description": DESCRIPTION,
        "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    })
}

pub(super) fn security_schemes() -> Value {
    let header = |name: &str, description: &str| json!({"type": "apiKey", "in": "header", "name": name, "description": description});
    json!({
        "key": header(
            "x-api-key",
            "The project's key. A project that works by key alone needs nothing else.",
        ),
        "nonce": header(
            "x-nonce",
            "Any text, such as the time. It may be used again, unless the project asks for fresh ones.",
        ),
        "signature": header(
            "x-signature",
            "Hexadecimal HMAC-SHA256 of API secret and nonce, one after the other, under the API key. \
             What `openssl dgst` prints before the digits may stay.",
        ),
    })
}
