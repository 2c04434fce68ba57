//! One spelling for what looks alike: case, width, marks, invisible characters, letters of other
//! alphabets (Unicode's "confusables", UTS 39).

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use unicode_security::confusable_detection::skeleton;

/// Characters that show nothing: they only part letters from each other.
const INVISIBLE: [(char, char); 19] = [
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{61c}', '\u{61c}'),
    // Stretches Arabic words.
    ('\u{640}', '\u{640}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{202a}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff9}', '\u{fffb}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e007f}'),
    ('\u{e0100}', '\u{e0fff}'),
];

/// Marks that a word can do without: accents, points and vowel signs of scripts that are read
/// without them. Vowels of Indic scripts and the voicing of Japanese are letters in all but name.
const MARKS: [(char, char); 11] = [
    ('\u{300}', '\u{36f}'),
    ('\u{483}', '\u{489}'),
    ('\u{591}', '\u{5c7}'),
    ('\u{610}', '\u{61a}'),
    ('\u{64b}', '\u{65f}'),
    ('\u{670}', '\u{670}'),
    ('\u{6d6}', '\u{6ed}'),
    ('\u{1ab0}', '\u{1aff}'),
    ('\u{1dc0}', '\u{1dff}'),
    ('\u{20d0}', '\u{20ff}'),
    ('\u{fe20}', '\u{fe2f}'),
];

/// Scripts that are no look-alikes of Latin and are long to look up: CJK and Hangul.
const UNLIKE_LATIN: [(char, char); 4] = [
    ('\u{1100}', '\u{11ff}'),
    ('\u{2e80}', '\u{a4cf}'),
    ('\u{ac00}', '\u{d7ff}'),
    ('\u{20000}', '\u{3ffff}'),
];

/// Letters in boxes, circles and flags that compatibility forms leave as they are; each run begins
/// with its A.
const BOXED_ALPHABETS: [char; 3] = ['\u{1f150}', '\u{1f170}', '\u{1f1e6}'];

/// Small capitals, which neither compatibility forms nor the confusables lead back to Latin.
const SMALL_CAPITALS: [(char, char); 26] = [
    ('ᴀ', 'a'),
    ('ʙ', 'b'),
    ('ᴄ', 'c'),
    ('ᴅ', 'd'),
    ('ᴇ', 'e'),
    ('ꜰ', 'f'),
    ('ɢ', 'g'),
    ('ʜ', 'h'),
    ('ɪ', 'i'),
    ('ᴊ', 'j'),
    ('ᴋ', 'k'),
    ('ʟ', 'l'),
    ('ᴍ', 'm'),
    ('ɴ', 'n'),
    ('ᴏ', 'o'),
    ('ᴘ', 'p'),
    ('ꞯ', 'q'),
    ('ʀ', 'r'),
    ('ꜱ', 's'),
    ('ᴛ', 't'),
    ('ᴜ', 'u'),
    ('ᴠ', 'v'),
    ('ᴡ', 'w'),
    ('ʏ', 'y'),
    ('ᴢ', 'z'),
    ('ı', 'i'),
];

/// A text in one spelling: lower case, without marks and invisible characters, and with the Latin
/// letter in the place of everything that looks like one. At most eighteen times as long as what
/// came in (compatibility forms unfold ligatures).
pub(crate) fn fold(text: &str) -> Vec<char> {
    let mut folded = Vec::with_capacity(text.len());
    let visible = text.chars().filter(|&c| !is_invisible(c)).map(unboxed);
    for c in visible.nfkd() {
        let on_latin = folded.last().is_some_and(char::is_ascii_alphanumeric);
        if among(&MARKS, c) || (on_latin && is_combining_mark(c)) {
            continue;
        }
        push(c, &mut folded);
    }
    folded
}

fn push(c: char, folded: &mut Vec<char>) {
    if c.is_ascii() {
        return folded.push(c.to_ascii_lowercase());
    }
    if !c.is_alphanumeric() || among(&UNLIKE_LATIN, c) {
        return folded.push(c);
    }
    match latin(c) {
        Some(latin) => folded.extend(latin.chars()),
        None => folded.extend(c.to_lowercase()),
    }
}

/// The Latin letters that this letter looks like, if it looks like some: by itself, in lower case,
/// in upper case.
fn latin(c: char) -> Option<String> {
    // A capital that looks like a stroke is an I as often as an l: its small letter tells.
    let itself = prototype(c).filter(|latin| latin != "l" || c.is_lowercase());
    let other = |mut cased: Box<dyn Iterator<Item = char>>| {
        let other = cased.next().filter(|other| *other != c)?;
        prototype(other)
    };
    itself
        .or_else(|| other(Box::new(c.to_lowercase())))
        .or_else(|| other(Box::new(c.to_uppercase())))
}

fn prototype(c: char) -> Option<String> {
    let mut buffer = [0; 4];
    let latin: String = skeleton(c.encode_utf8(&mut buffer))
        .filter(|&c| !is_combining_mark(c))
        .map(small_capital)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    let letters = !latin.is_empty() && latin.bytes().all(|byte| byte.is_ascii_lowercase());
    // The prototype of an m is two letters.
    letters.then(|| latin.replace("rn", "m"))
}

fn small_capital(c: char) -> char {
    let found = SMALL_CAPITALS.iter().find(|(small, _)| *small == c);
    found.map_or(c, |(_, letter)| *letter)
}

fn unboxed(c: char) -> char {
    let boxed = |first: &char| {
        let place = u32::from(c).checked_sub(u32::from(*first))?;
        let letter = u8::try_from(place).ok().filter(|place| *place < 26)?;
        Some(char::from(b'a' + letter))
    };
    BOXED_ALPHABETS.iter().find_map(boxed).unwrap_or(c)
}

fn is_invisible(c: char) -> bool {
    among(&INVISIBLE, c) || (c.is_control() && !c.is_whitespace())
}

fn among(ranges: &[(char, char)], c: char) -> bool {
    // Most text is below all of them.
    c >= ranges[0].0 && ranges.iter().any(|&(from, to)| (from..=to).contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(text: &str) -> String {
        fold(text).into_iter().collect()
    }

    #[test]
    fn what_looks_alike_is_spelled_alike() {
        for text in [
            "Nude",
            "NUDE",
            "n\u{200b}u\u{200d}d\u{feff}e",
            "n\u{ad}ude",
            "ｎｕｄｅ",
            "ＮＵＤＥ",
            "𝓷𝓾𝓭𝓮",
            "𝐍𝐔𝐃𝐄",
            "ⓝⓤⓓⓔ",
            "🅝🅤🅓🅔",
            "🅽🆄🅳🅴",
            "🇳🇺🇩🇪",
            "ɴᴜᴅᴇ",
            "ñüdé",
            "ṇṳḍḙ",
            "n\u{335}u\u{336}d\u{337}e\u{489}",
            "nudе",
            "nυdе",
            "ΝUDΕ",
            "nu\u{e0061}de",
        ] {
            assert_eq!(folded(text), "nude", "{text}");
        }
        assert_eq!(folded("ѕех"), "sex");
        assert_eq!(folded("ЅЕХ"), "sex");
        assert_eq!(folded("Øł"), "ol");
    }

    #[test]
    fn other_scripts_keep_their_letters() {
        assert_eq!(folded("子供の写真"), "子供の写真");
        assert_eq!(folded("ДЖ"), folded("дж"));
        assert_eq!(folded("बच्चा"), "बच्चा");
        assert_eq!(folded("1920 × 1080!"), "1920 × 1080!");
    }

    #[test]
    fn ranges_are_sorted() {
        for ranges in [&INVISIBLE[..], &MARKS[..], &UNLIKE_LATIN[..]] {
            assert!(ranges.is_sorted() && ranges.iter().all(|(from, to)| from <= to));
        }
    }
}
