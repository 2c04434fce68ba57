//! Commands for a shell that run one task, for the page at `/` and for the terminal on a first
//! start. They need `curl`, `openssl` and `sed`, and work as they are printed.

/// Lines to paste: prove the project.
pub fn shell_variables(api_key: &str, api_secret: &str) -> String {
    format!(
        r#"API_KEY="{api_key}"
API_SECRET="{api_secret}"
NONCE=$(date +%s)
SIGNATURE="$(printf '%s' "$API_SECRET$NONCE" | openssl dgst -sha256 -hmac "$API_KEY")"
"#
    )
}

/// Lines to paste: prove the project, run the tool, ask how the task stands.
pub fn shell_commands(base_url: &str, api_key: &str, api_secret: &str) -> String {
    let variables = shell_variables(api_key, api_secret);
    format!(
        r#"{variables}
TOKEN=$(curl -s "{base_url}/v1/Run/black-forest-labs/flux-pro-1.1" \
  -H "Content-Type: application/json" \
  -H "x-api-key: $API_KEY" -H "x-nonce: $NONCE" -H "x-signature: $SIGNATURE" \
  -d '{{"prompt": "a red circle left of a blue square on a white background", "aspectRatio": "1:1"}}' \
  | sed -n 's/.*"socketaccesstoken":"\([^"]*\)".*/\1/p')

curl -s "{base_url}/v1/Task/Detail" \
  -H "Content-Type: application/json" \
  -H "x-api-key: $API_KEY" -H "x-nonce: $NONCE" -H "x-signature: $SIGNATURE" \
  -d "{{\"tasktoken\": \"$TOKEN\"}}"
"#
    )
}
