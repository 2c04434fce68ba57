//! From what a language model said to a prompt: what surrounds the prompt goes, as far as that is
//! safe, and what is no prompt is refused.

use super::{MAX_UPSAMPLED_CHARS, NotUpsampled, Wish};

/// Bytes of an answer that are looked at: a rewriting, and the thoughts before it.
const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// How a first line begins that only announces the prompt. It ends with a colon.
const ANNOUNCEMENTS: [&str; 9] = [
    "here is",
    "here's",
    "here’s",
    "sure",
    "certainly",
    "of course",
    "okay",
    "ok,",
    "below is",
];

/// What a prompt is labelled with.
const LABELS: [&str; 9] = [
    "prompt",
    "new prompt",
    "rewritten prompt",
    "improved prompt",
    "enhanced prompt",
    "revised prompt",
    "instruction",
    "rewritten instruction",
    "clear instruction",
];

/// How a refusal begins.
const REFUSALS: [&str; 14] = [
    "i'm sorry",
    "i’m sorry",
    "i am sorry",
    "sorry,",
    "i can't",
    "i can’t",
    "i cannot",
    "i'm unable",
    "i’m unable",
    "i am unable",
    "i won't",
    "i won’t",
    "as an ai",
    "i apologize",
];

const QUOTES: [(char, char); 6] = [
    ('"', '"'),
    ('“', '”'),
    ('„', '“'),
    ('«', '»'),
    ('\'', '\''),
    ('`', '`'),
];

/// The rewriting in an answer to a wish.
///
/// # Errors
/// [`NotUpsampled::Declined`] for a refusal; [`NotUpsampled::Unusable`] for an answer without a
/// prompt in it, one that is too long, or one that changes a quoted text.
pub fn read_answer(answer: &str, wish: &Wish) -> Result<String, NotUpsampled> {
    if answer.len() > MAX_ANSWER_BYTES {
        return Err(NotUpsampled::Unusable("it is too long"));
    }
    let spoken = without_thoughts(answer)?;
    let text = without_label(without_announcement(spoken.trim()));
    let text = if is_like(text, &wish.prompt) {
        text
    } else {
        without_quotes(text)
    };
    let text = in_one_line(text);
    if text.is_empty() {
        return Err(NotUpsampled::Unusable("it is empty"));
    }
    if begins_with_one(&text, &REFUSALS) && !begins_with_one(&wish.prompt, &REFUSALS) {
        return Err(NotUpsampled::Declined);
    }
    if text.chars().count() > MAX_UPSAMPLED_CHARS {
        return Err(NotUpsampled::Unusable("it is too long"));
    }
    if quoted(&wish.prompt).any(|part| !says(&text, part)) {
        return Err(NotUpsampled::Unusable("it changes a quoted text"));
    }
    Ok(text)
}

/// Without `<think>…</think>`. One that was opened by the model's template has only its end.
fn without_thoughts(answer: &str) -> Result<String, NotUpsampled> {
    let mut rest = answer;
    let mut spoken = String::new();
    if let Some((thoughts, after)) = rest.split_once("</think>")
        && !thoughts.contains("<think>")
    {
        rest = after;
    }
    while let Some((before, thoughts)) = rest.split_once("<think>") {
        spoken += before;
        let unfinished = NotUpsampled::Unusable("it ends in the middle of a thought");
        rest = thoughts.split_once("</think>").ok_or(unfinished)?.1;
    }
    Ok(spoken + rest)
}

/// Without a first line such as `Sure! Here is the prompt:` and a fence around what follows.
fn without_announcement(text: &str) -> &str {
    let Some((first, rest)) = text.split_once('\n') else {
        return text;
    };
    let announces = first.trim_end().ends_with(':') && begins_with_one(first, &ANNOUNCEMENTS);
    let text = if announces { rest.trim() } else { text };
    let fenced = text.strip_prefix("```").and_then(|text| {
        let (_language, text) = text.split_once('\n')?;
        text.trim_end().strip_suffix("```")
    });
    fenced.unwrap_or(text).trim()
}

/// Without `Prompt:` in front.
fn without_label(text: &str) -> &str {
    let Some((label, rest)) = text.split_once(':') else {
        return text;
    };
    let label = label.trim_matches(|c: char| c == '*' || c.is_whitespace());
    let known = LABELS.iter().any(|known| label.eq_ignore_ascii_case(known));
    if known {
        rest.trim_start_matches('*').trim()
    } else {
        text
    }
}

/// Whether a prompt comes in quotation marks as a whole: then an answer may, too.
fn is_like(text: &str, prompt: &str) -> bool {
    without_quotes(prompt.trim()) != prompt.trim() && text.contains(prompt.trim())
}

/// Without quotation marks around the whole.
fn without_quotes(text: &str) -> &str {
    for (open, close) in QUOTES {
        let inner = text.strip_prefix(open).and_then(|t| t.strip_suffix(close));
        if let Some(inner) = inner
            && !inner.contains(open)
            && !inner.contains(close)
        {
            return inner.trim();
        }
    }
    let bold = text.strip_prefix("**").and_then(|t| t.strip_suffix("**"));
    bold.filter(|inner| !inner.contains("**")).unwrap_or(text)
}

/// Blanks of every kind are one blank, and nothing is left that no person types.
fn in_one_line(text: &str) -> String {
    let words = text.split_whitespace();
    let text = words.collect::<Vec<_>>().join(" ");
    text.chars().filter(|letter| !letter.is_control()).collect()
}

fn begins_with_one(text: &str, beginnings: &[&str]) -> bool {
    let text = text.trim_start().to_lowercase();
    beginnings
        .iter()
        .any(|beginning| text.starts_with(beginning))
}

/// Whether a text stands in another, and not within a longer word.
fn says(text: &str, part: &str) -> bool {
    text.match_indices(part).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + part.len()..].chars().next();
        !before.into_iter().chain(after).any(char::is_alphanumeric)
    })
}

/// The texts in quotation marks: what a picture shall show letter for letter.
fn quoted(prompt: &str) -> impl Iterator<Item = &str> {
    let straight = prompt.split('"').skip(1).step_by(2);
    // An odd mark (an inch, say) opens nothing.
    let whole = prompt.matches('"').count() / 2;
    let curly = prompt
        .split('“')
        .skip(1)
        .filter_map(|rest| rest.split_once('”'));
    straight
        .take(whole)
        .chain(curly.map(|(inner, _)| inner))
        .filter(|inner| !inner.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::Purpose;
    use super::*;

    fn read_for(prompt: &str, answer: &str) -> Result<String, NotUpsampled> {
        let wish = Wish {
            prompt: prompt.to_owned(),
            purpose: Purpose::Picture,
            seed: 1,
        };
        read_answer(answer, &wish)
    }

    fn read(answer: &str) -> Result<String, NotUpsampled> {
        read_for("a cat", answer)
    }

    #[test]
    fn what_surrounds_a_prompt_goes() {
        for answer in [
            "a cat at dawn",
            "  a cat\n\n at\tdawn \n",
            "\"a cat at dawn\"",
            "“a cat at dawn”",
            "**a cat at dawn**",
            "<think>A cat. Hm: \"dog\"?</think>\n\na cat at dawn",
            "it wants a cat</think>a cat at dawn",
            "<think>one</think>a cat <think>two</think>at dawn",
            "Sure! Here is the improved prompt:\n\n\"a cat at dawn\"",
            "Here's the prompt:\n```text\na cat at dawn\n```",
            "Prompt: a cat at dawn",
            "**Rewritten prompt:** a cat at dawn",
            "a cat\u{7} at dawn",
        ] {
            assert_eq!(read(answer), Ok("a cat at dawn".to_owned()), "{answer}");
        }
    }

    #[test]
    fn what_may_belong_to_a_prompt_stays() {
        for answer in [
            "\"a\" cat and \"b\"",
            "Here is a cat: it sleeps",
            "A cat: portrait in oil",
            "sure-footed cats on a roof",
            "a sign: prompt delivery",
        ] {
            assert_eq!(read(answer), Ok(answer.to_owned()));
        }
        let quoted = read_for("\"hello\"", "\"hello\"");
        assert_eq!(quoted, Ok("\"hello\"".to_owned()));
        let sorry = "I'm sorry, on a card";
        assert_eq!(read_for(sorry, sorry), Ok(sorry.to_owned()));
    }

    #[test]
    fn what_is_no_prompt_is_refused() {
        let long = "cat ".repeat(MAX_UPSAMPLED_CHARS);
        let huge = "a".repeat(MAX_ANSWER_BYTES + 1);
        for (answer, why) in [
            ("", "it is empty"),
            (" \n ", "it is empty"),
            ("\"\"", "it is empty"),
            ("<think>a cat</think>", "it is empty"),
            ("<think>a cat, or", "it ends in the middle of a thought"),
            (long.as_str(), "it is too long"),
            (huge.as_str(), "it is too long"),
        ] {
            assert_eq!(read(answer), Err(NotUpsampled::Unusable(why)));
        }
        for answer in ["I'm sorry, but I can't.", "I cannot help", "As an AI, I"] {
            assert_eq!(read(answer), Err(NotUpsampled::Declined), "{answer}");
        }
    }

    #[test]
    fn quoted_texts_stay_letter_for_letter() {
        let prompt = "change the sign to \"Open 24 h\" and “Bar”, 12\" wide";
        let good = "Change the sign so that it reads \"Open 24 h\" and \"Bar\".";
        assert_eq!(read_for(prompt, good), Ok(good.to_owned()));
        let bad = "Change the sign to \"Open 24 hours\" and \"Bar\".";
        let why = NotUpsampled::Unusable("it changes a quoted text");
        assert_eq!(read_for(prompt, bad), Err(why));
    }
}
