//! A tolerant reader for the small bodies of the task endpoints.
//!
//! The documented shell line for `Task/Detail` arrives as `{ "tasktoken": eDcC…, }`: an unquoted
//! word and a trailing comma. This reader takes one flat object whose keys and values are words
//! or quoted strings; the body reader tries it only after strict JSON has failed.

/// Bodies longer than this are not looked at: a task is named in well under a kilobyte.
pub const LENIENT_LIMIT_BYTES: usize = 4096;

/// The pairs of a flat object in their order, or `None` for anything else.
pub fn read_flat_object(body: &str) -> Option<Vec<(String, String)>> {
    if body.len() > LENIENT_LIMIT_BYTES {
        return None;
    }
    let mut reader = Reader { rest: body };
    reader.expect('{')?;
    let mut pairs = Vec::new();
    loop {
        if reader.take('}') {
            return reader.at_end().then_some(pairs);
        }
        let name = reader.scalar()?;
        reader.expect(':')?;
        pairs.push((name, reader.scalar()?));
        if !reader.take(',') {
            reader.expect('}')?;
            return reader.at_end().then_some(pairs);
        }
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn at_end(&mut self) -> bool {
        self.skip_blanks();
        self.rest.is_empty()
    }

    fn take(&mut self, wanted: char) -> bool {
        self.skip_blanks();
        let Some(rest) = self.rest.strip_prefix(wanted) else {
            return false;
        };
        self.rest = rest;
        true
    }

    fn expect(&mut self, wanted: char) -> Option<()> {
        self.take(wanted).then_some(())
    }

    /// A quoted string (backslash keeps the next character as it is) or a bare word.
    fn scalar(&mut self) -> Option<String> {
        self.skip_blanks();
        match self.rest.chars().next()? {
            quote @ ('"' | '\'') => self.quoted(quote),
            _ => self.word(),
        }
    }

    fn quoted(&mut self, quote: char) -> Option<String> {
        let mut text = String::new();
        let mut characters = self.rest.char_indices().skip(1);
        while let Some((at, character)) = characters.next() {
            match character {
                '\\' => text.push(characters.next()?.1),
                end if end == quote => {
                    self.rest = &self.rest[at + quote.len_utf8()..];
                    return Some(text);
                }
                other => text.push(other),
            }
        }
        None
    }

    fn word(&mut self) -> Option<String> {
        let ends = |c: char| c.is_whitespace() || ",:{}[]\"'".contains(c);
        let length = self.rest.find(ends).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(length);
        self.rest = rest;
        (!word.is_empty()).then(|| word.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(name: &str, value: &str) -> Option<Vec<(String, String)>> {
        Some(vec![(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn the_documented_line_is_read() {
        let body = "{\n  \"tasktoken\": eDcCm5yyUfIvMFspTwww49OUfgXkQt,\n}";
        assert_eq!(
            read_flat_object(body),
            one("tasktoken", "eDcCm5yyUfIvMFspTwww49OUfgXkQt")
        );
    }

    #[test]
    fn what_is_no_flat_object_is_refused() {
        for body in [
            "",
            "{",
            "}",
            "{}}",
            "{a}",
            "{a:}",
            "{:b}",
            "{a:b c}",
            "{a:b,,}",
            "{,}",
            "{a:[b]}",
            "{a:{b:c}}",
            "{\"a:b}",
            "[a]",
            "{a:b} c",
            "{a b}",
            "{'a':'b\\'}",
        ] {
            assert_eq!(read_flat_object(body), None, "{body}");
        }
        assert_eq!(
            read_flat_object(&format!("{{a:{}}}", "b".repeat(LENIENT_LIMIT_BYTES))),
            None
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_harm(body in "\\PC*") {
            let _ = read_flat_object(&body);
        }

        #[test]
        fn texts_of_its_own_marks_are_read_without_harm(body in "[{}:,'\"\\\\ a\u{e9}\n]{0,40}") {
            let _ = read_flat_object(&body);
        }

        #[test]
        fn words_come_back_however_they_are_quoted(
            pairs in proptest::collection::vec(("[a-z]{1,12}", "[A-Za-z0-9]{1,40}", 0..3, "[ \n\t]{0,3}"), 0..5),
            trailing in any::<bool>(),
        ) {
            let dress = |text: &str, style: i32| match style {
                0 => text.to_owned(),
                1 => format!("\"{text}\""),
                _ => format!("'{text}'"),
            };
            let inner: Vec<String> = pairs
                .iter()
                .map(|(name, value, style, blank)| {
                    format!("{blank}{}{blank}:{blank}{}{blank}", dress(name, 2 - style), dress(value, *style))
                })
                .collect();
            let comma = if trailing && !pairs.is_empty() { "," } else { "" };
            let body = format!(" {{{}{comma} }}\n", inner.join(","));
            let expected: Vec<(String, String)> =
                pairs.iter().map(|(name, value, ..)| (name.clone(), value.clone())).collect();
            prop_assert_eq!(read_flat_object(&body), Some(expected));
        }

        #[test]
        fn quoted_text_comes_back(text in "\\PC{0,60}") {
            let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
            let body = format!("{{tasktoken:\"{escaped}\"}}");
            prop_assert_eq!(read_flat_object(&body), Some(vec![("tasktoken".to_owned(), text)]));
        }
    }
}
