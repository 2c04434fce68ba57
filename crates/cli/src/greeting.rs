//! What `tintype serve` prints when it is up: where it is, and on a first start the keys and
//! commands to try. Nothing else goes to standard output.

use std::path::Path;

use tintype_server::examples;
use tintype_service::ProjectKeys;

/// What there is to say.
pub struct Greeting<'a> {
    /// Where clients reach the service.
    pub public_url: &'a str,
    /// The folder for everything that is kept.
    pub data: &'a Path,
    /// The models that run, in words.
    pub models: &'a [String],
    /// What is not moderated, if anything.
    pub unmoderated: Option<&'a str>,
    /// The keys of a project that was made just now.
    pub new_keys: Option<&'a ProjectKeys>,
}

/// How a terminal shows emphasis; empty where nobody looks.
struct Style {
    strong: &'static str,
    faint: &'static str,
    plain: &'static str,
}

const COLOURS: Style = Style {
    strong: "\x1b[1m",
    faint: "\x1b[2m",
    plain: "\x1b[0m",
};
const NO_COLOURS: Style = Style {
    strong: "",
    faint: "",
    plain: "",
};

impl Greeting<'_> {
    /// The text, dressed for a terminal or plain.
    pub fn text(&self, terminal: bool) -> String {
        let style = if terminal { COLOURS } else { NO_COLOURS };
        let first_start = self.new_keys.map(|keys| self.first_start(keys, &style));
        let Style {
            strong,
            faint,
            plain,
        } = style;
        let models: String = self
            .models
            .iter()
            .map(|model| format!("  model    {model}\n"))
            .collect();
        let note = self.unmoderated.map_or_else(String::new, |gap| {
            format!("  note     {gap}: see [moderation] in the configuration\n")
        });
        format!(
            "{strong}Tintype{plain} {version} is up.\n\n  \
             address  {strong}{url}{plain}\n  \
             data     {data}\n\
             {models}{note}\n\
             {first_start}\
             {faint}Control-C stops it; what is queued is kept.{plain}\n",
            version = env!("CARGO_PKG_VERSION"),
            url = self.public_url,
            data = self.data.display(),
            first_start = first_start.unwrap_or_default(),
        )
    }

    fn first_start(&self, keys: &ProjectKeys, style: &Style) -> String {
        let Style {
            strong,
            faint,
            plain,
        } = style;
        format!(
            "This is the first start, so a project named \"{name}\" was made.\n\
             Keep its key and secret: they are not shown again.\n\n  \
             API key     {strong}{api_key}{plain}\n  \
             API secret  {strong}{api_secret}{plain}\n\n\
             Paste this into another shell to draw a picture:\n\n\
             {commands}\n\
             {faint}Repeat the last command until the status is task_postprocess_end; the address \
             of the\npicture stands in \"outputs\".{plain}\n\n",
            name = keys.name,
            api_key = keys.api_key,
            api_secret = keys.api_secret,
            commands = examples::shell_commands(self.public_url, &keys.api_key, &keys.api_secret),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_start_reads_as_published() {
        let keys = ProjectKeys {
            name: "default".to_owned(),
            api_key: "THEKEY".to_owned(),
            api_secret: "THESECRET".to_owned(),
            webhook_secret: "whsec_THEWEBHOOKSECRET".to_owned(),
        };
        let greeting = Greeting {
            public_url: "http://127.0.0.1:8787",
            data: Path::new("/var/lib/tintype"),
            models: &["nano (bundled)".to_owned()],
            unmoderated: Some("pictures are not moderated"),
            new_keys: Some(&keys),
        };
        insta::assert_snapshot!(greeting.text(false));
    }

    #[test]
    fn a_later_start_shows_no_keys() {
        let greeting = Greeting {
            public_url: "https://pictures.example",
            data: Path::new("/var/lib/tintype"),
            models: &["nano (bundled)".to_owned(), "/models/kontext".to_owned()],
            unmoderated: None,
            new_keys: None,
        };
        insta::assert_snapshot!(greeting.text(false));
    }
}
