//! The words of a text, and what else can be read in the same place: digits and signs as letters,
//! letters that were drawn out, words in pieces.

use std::collections::HashSet;
use std::ops::Range;

use super::fold;

/// No word of a rule is longer; longer readings are passed over.
pub(crate) const MAX_WORD_CHARS: usize = 48;

/// Letters that stand alone and make a word together, at least: two happen by chance.
const MIN_SPACED: usize = 3;

/// Signs between letters that stand alone, at most.
const MAX_GAP: usize = 4;

/// Inside of a longer row of lone letters, a word needs this many: shorter ones stand in innocent
/// words, too.
const MIN_INSIDE: usize = 6;

/// The longest word that is looked for inside of such a row: bounds the work for each letter.
const MAX_INSIDE: usize = 24;

/// A word in pieces has this many at most.
const MAX_PIECES: usize = 4;

/// A piece that is no word by itself has this many letters at most.
const MAX_PIECE_CHARS: usize = 2;

/// Signs that stand for letters, twice: some stand for i or for l.
const SIGNS: [(char, [char; 2]); 19] = [
    ('0', ['o', 'o']),
    ('1', ['i', 'l']),
    ('2', ['z', 'z']),
    ('3', ['e', 'e']),
    ('4', ['a', 'a']),
    ('5', ['s', 's']),
    ('6', ['g', 'b']),
    ('7', ['t', 't']),
    ('8', ['b', 'b']),
    ('9', ['g', 'g']),
    ('@', ['a', 'a']),
    ('$', ['s', 's']),
    ('!', ['i', 'l']),
    ('|', ['i', 'l']),
    ('+', ['t', 't']),
    ('€', ['e', 'e']),
    ('£', ['l', 'l']),
    ('¢', ['c', 'c']),
    ('§', ['s', 's']),
];

/// What follows an apostrophe in English and is no word.
const ENDINGS: [&str; 7] = ["s", "t", "d", "m", "ll", "re", "ve"];

/// Scripts that put no blanks between words: each character is taken for a word, and a word of a
/// rule for a row of them.
const WITHOUT_BLANKS: [(char, char); 9] = [
    ('\u{e00}', '\u{eff}'),
    ('\u{1000}', '\u{109f}'),
    ('\u{1780}', '\u{17ff}'),
    ('\u{2e80}', '\u{2fdf}'),
    ('\u{3005}', '\u{3007}'),
    ('\u{3040}', '\u{31ff}'),
    ('\u{3400}', '\u{9fff}'),
    ('\u{f900}', '\u{faff}'),
    ('\u{20000}', '\u{3ffff}'),
];

/// Something that may be read at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading<'a> {
    /// The number of the word where it begins.
    pub(crate) at: usize,
    /// The words that it takes up.
    pub(crate) width: usize,
    /// What is read.
    pub(crate) word: &'a str,
    /// How it was come by.
    pub(crate) manner: Manner,
}

/// How a reading was come by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// As it stands, or put together.
    Whole,
    /// Letters were drawn out, and each is written once here.
    Squeezed,
    /// A stretch of a longer row of lone letters.
    Inside,
}

/// A text, taken apart into words.
#[derive(Debug)]
pub(crate) struct Text {
    letters: Vec<char>,
    /// Where each word stands in `letters`.
    words: Vec<Range<usize>>,
}

impl Text {
    pub(crate) fn new(text: &str) -> Self {
        let letters = fold(text);
        let words = words_of(&letters);
        Self { letters, words }
    }

    /// How many words there are.
    pub(crate) fn len(&self) -> usize {
        self.words.len()
    }

    /// The words as they stand.
    pub(crate) fn words(&self) -> impl Iterator<Item = String> {
        self.words.iter().map(|word| self.text(word.clone()))
    }

    /// Shows everything that may be read. `short_words` are those that are no pieces of others.
    /// The number of readings is bounded by the length of the text.
    pub(crate) fn read(&self, short_words: &HashSet<String>, mut visit: impl FnMut(Reading<'_>)) {
        for (at, word) in self.words().enumerate() {
            show(at, 1, &word, &mut visit);
        }
        self.read_signs(&mut visit);
        self.read_pieces(short_words, &mut visit);
        self.read_spaced(short_words, &mut visit);
    }

    /// Digits and signs for letters: all of them as letters, from blank to blank.
    fn read_signs(&self, visit: &mut impl FnMut(Reading<'_>)) {
        let (mut at, mut end) = (0, 0);
        for chunk in self
            .letters
            .chunk_by(|a, b| is_readable(*a) == is_readable(*b))
        {
            let from = end;
            end += chunk.len();
            if !is_readable(chunk[0]) {
                continue;
            }
            while self.words.get(at).is_some_and(|word| word.end <= from) {
                at += 1;
            }
            let width = self.words[at..]
                .iter()
                .take_while(|word| word.end <= end)
                .count();
            if width > 0 && chunk.len() <= MAX_WORD_CHARS {
                show_signs(at, width, chunk, visit);
            }
        }
    }

    /// Words in pieces, such as "wo rd": pieces that are no words by themselves, and one other.
    fn read_pieces(&self, short_words: &HashSet<String>, visit: &mut impl FnMut(Reading<'_>)) {
        let pieces: Vec<bool> = self
            .words
            .iter()
            .map(|word| self.is_piece(word, short_words))
            .collect();
        for at in 0..self.words.len() {
            let mut joined = self.text(self.words[at].clone());
            let mut others = usize::from(!pieces[at]);
            let following = self.words.iter().zip(&pieces).enumerate().skip(at + 1);
            for (next, (word, is_piece)) in following.take(MAX_PIECES - 1) {
                others += usize::from(!is_piece);
                if others > 1 || self.gap(next - 1) > 1 || word.len() > MAX_WORD_CHARS {
                    break;
                }
                joined += &self.text(word.clone());
                // Letters that all stand alone are a row of their own.
                if (at..=next).any(|at| self.words[at].len() > 1) {
                    show(at, next + 1 - at, &joined, visit);
                }
            }
        }
    }

    fn is_piece(&self, word: &Range<usize>, short_words: &HashSet<String>) -> bool {
        let letters = &self.letters[word.clone()];
        letters.len() <= MAX_PIECE_CHARS
            && letters
                .iter()
                .all(|c| c.is_alphabetic() && !stands_alone(*c))
            && !short_words.contains(&self.text(word.clone()))
    }

    /// Letters that stand alone, "w o r d": all of such a row, and those that are equally far
    /// apart.
    fn read_spaced(&self, short_words: &HashSet<String>, visit: &mut impl FnMut(Reading<'_>)) {
        let mut from = 0;
        while from < self.words.len() {
            let mut to = from;
            while to < self.words.len()
                && self.is_lone(to)
                && (to == from || self.gap(to - 1) <= MAX_GAP)
            {
                to += 1;
            }
            if to - from >= MIN_SPACED {
                self.show_row(from..to, visit);
                self.read_even_rows(from..to, visit);
                self.read_inner_row(from..to, short_words, visit);
            }
            from = to.max(from + 1);
        }
    }

    /// The same without words of one letter at its ends: "a w o r d".
    fn read_inner_row(
        &self,
        row: Range<usize>,
        short_words: &HashSet<String>,
        visit: &mut impl FnMut(Reading<'_>),
    ) {
        let is_word = |at: usize| short_words.contains(&self.text(self.words[at].clone()));
        let start = row.start + usize::from(is_word(row.start));
        let end = row.end - usize::from(is_word(row.end - 1));
        for inner in [start..row.end, row.start..end, start..end] {
            if inner != row && inner.len() >= MIN_SPACED {
                self.show_word(inner, visit);
            }
        }
    }

    fn read_even_rows(&self, row: Range<usize>, visit: &mut impl FnMut(Reading<'_>)) {
        let mut from = row.start;
        for at in row.start + 1..=row.end {
            let ends = at == row.end || self.gap(at - 1) > self.gap(from);
            if ends {
                if at - from >= MIN_SPACED && (from, at) != (row.start, row.end) {
                    self.show_row(from..at, visit);
                }
                from = at;
            } else if self.gap(at - 1) < self.gap(from) {
                // What came before was further off.
                from = at - 1;
            }
        }
    }

    fn show_row(&self, row: Range<usize>, visit: &mut impl FnMut(Reading<'_>)) {
        let letters = self.show_word(row.clone(), visit);
        let mut buffer = String::with_capacity(MAX_INSIDE * size_of::<char>());
        for from in 0..letters.len() {
            buffer.clear();
            for (index, &letter) in letters[from..].iter().take(MAX_INSIDE).enumerate() {
                buffer.push(as_letter(letter, 0));
                if index + 1 >= MIN_INSIDE {
                    visit(Reading {
                        at: row.start + from,
                        width: index + 1,
                        word: &buffer,
                        manner: Manner::Inside,
                    });
                }
            }
        }
    }

    /// A row as one word; returns its letters.
    fn show_word(&self, row: Range<usize>, visit: &mut impl FnMut(Reading<'_>)) -> Vec<char> {
        let words = self.words[row.clone()].iter();
        let letters: Vec<char> = words.map(|word| self.letters[word.start]).collect();
        if letters.len() <= MAX_WORD_CHARS {
            let word: String = letters.iter().collect();
            show(row.start, letters.len(), &word, visit);
            show_signs(row.start, letters.len(), &letters, visit);
        }
        letters
    }

    fn is_lone(&self, at: usize) -> bool {
        let word = &self.words[at];
        word.len() == 1 && !stands_alone(self.letters[word.start])
    }

    /// Signs between a word and the next.
    fn gap(&self, at: usize) -> usize {
        match self.words.get(at + 1) {
            Some(next) => next.start - self.words[at].end,
            None => 0,
        }
    }

    fn text(&self, word: Range<usize>) -> String {
        self.letters[word].iter().collect()
    }
}

/// A word with every row of equal letters written as one.
pub(crate) fn squeezed(word: &str) -> String {
    let mut squeezed = String::with_capacity(word.len());
    for letter in word.chars() {
        if !squeezed.ends_with(letter) {
            squeezed.push(letter);
        }
    }
    squeezed
}

fn show(at: usize, width: usize, word: &str, visit: &mut impl FnMut(Reading<'_>)) {
    let reading = Reading {
        at,
        width,
        word,
        manner: Manner::Whole,
    };
    visit(reading);
    if is_drawn_out(word) {
        visit(Reading {
            word: &squeezed(word),
            manner: Manner::Squeezed,
            ..reading
        });
    }
}

/// Shows what signs stand for, with and without those at the end: they may be punctuation.
fn show_signs(at: usize, width: usize, letters: &[char], visit: &mut impl FnMut(Reading<'_>)) {
    let has_letters = letters.iter().any(|letter| letter.is_alphabetic());
    if !has_letters || !letters.iter().any(|letter| sign(*letter).is_some()) {
        return;
    }
    let inner = letters.len() - letters.iter().rev().take_while(|c| **c == '!').count();
    let mut ends = vec![letters.len()];
    ends.extend((inner < letters.len()).then_some(inner));
    for end in ends {
        let [first, second] = [0, 1].map(|way| {
            letters[..end]
                .iter()
                .map(|&c| as_letter(c, way))
                .collect::<String>()
        });
        show(at, width, &first, visit);
        if second != first {
            show(at, width, &second, visit);
        }
    }
}

/// Whether a letter stands three times in a row: no word is written so.
fn is_drawn_out(word: &str) -> bool {
    let letters: Vec<char> = word.chars().collect();
    letters
        .windows(3)
        .any(|three| three[0].is_alphabetic() && three[0] == three[1] && three[1] == three[2])
}

fn words_of(letters: &[char]) -> Vec<Range<usize>> {
    let mut words: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    while at < letters.len() {
        let start = at;
        at += 1;
        if !is_word_part(letters[start]) {
            continue;
        }
        if !stands_alone(letters[start]) {
            at += letters[at..]
                .iter()
                .take_while(|c| is_word_part(**c) && !stands_alone(**c))
                .count();
        }
        if !is_ending(letters, words.last(), start..at) {
            words.push(start..at);
        }
    }
    words
}

/// Whether this is what an apostrophe leaves of "is", "not" and the like.
fn is_ending(letters: &[char], before: Option<&Range<usize>>, word: Range<usize>) -> bool {
    let parted = |before: &Range<usize>| {
        before.len() > MAX_PIECE_CHARS
            && before.end + 1 == word.start
            && matches!(letters[before.end], '\'' | '\u{2019}' | '\u{2bc}')
    };
    before.is_some_and(parted)
        && ENDINGS
            .iter()
            .any(|ending| ending.chars().eq(letters[word.clone()].iter().copied()))
}

fn is_word_part(c: char) -> bool {
    c.is_alphanumeric() || unicode_normalization::char::is_combining_mark(c)
}

fn is_readable(c: char) -> bool {
    is_word_part(c) || sign(c).is_some()
}

fn sign(c: char) -> Option<[char; 2]> {
    let found = SIGNS.iter().find(|(sign, _)| *sign == c);
    found.map(|(_, letters)| *letters)
}

fn as_letter(c: char, way: usize) -> char {
    sign(c).map_or(c, |letters| letters[way])
}

fn stands_alone(c: char) -> bool {
    c >= WITHOUT_BLANKS[0].0
        && WITHOUT_BLANKS
            .iter()
            .any(|&(from, to)| (from..=to).contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(text: &str) -> Vec<(usize, usize, String)> {
        let mut all = Vec::new();
        let short_words = HashSet::from(["a".to_owned(), "us".to_owned()]);
        Text::new(text).read(&short_words, |reading| {
            all.push((reading.at, reading.width, reading.word.to_owned()));
        });
        all
    }

    fn reads(text: &str, word: &str) -> Option<(usize, usize)> {
        let all = readings(text);
        let found = all.iter().find(|(.., read)| read == word);
        found.map(|(at, width, _)| (*at, *width))
    }

    #[test]
    fn hidden_words_are_read_where_they_stand() {
        for (text, place) in [
            ("a nude", Some((1, 1))),
            ("a nuuuude", Some((1, 1))),
            ("a n u d e woman", Some((1, 4))),
            ("a n.u.d.e woman", Some((1, 4))),
            ("a n-u-d-e", Some((1, 4))),
            ("n_u_d_e", Some((0, 4))),
            ("a   n u d e   w o m a n", Some((1, 4))),
            ("n  u  d  e", Some((0, 4))),
            ("nu de", Some((0, 2))),
            ("n ude", Some((0, 2))),
            ("nu-d-e", Some((0, 3))),
            ("NUD3!", Some((0, 1))),
            ("nud€ x", Some((0, 1))),
            ("n u d 3", Some((0, 4))),
            ("n u  d   e", Some((0, 4))),
            ("nudes", None),
            ("denude", None),
            ("n us ude", None),
        ] {
            assert_eq!(reads(text, "nude"), place, "{text}");
        }
    }

    #[test]
    fn signs_stand_for_several_letters() {
        assert_eq!(reads("k1ll", "kill"), Some((0, 1)));
        assert_eq!(reads("ki11", "kill"), Some((0, 1)));
        assert_eq!(reads("k111", "kill"), None, "one sign, one letter");
        assert_eq!(reads("b1ood", "blood"), Some((0, 1)));
        assert_eq!(reads("a$$ault", "assault"), Some((0, 2)));
        assert_eq!(reads("455", "ass"), None, "a number is a number");
        assert_eq!(reads("cats+nude", "nude"), Some((1, 1)));
    }

    #[test]
    fn long_words_are_found_in_rows_of_letters_without_borders() {
        assert_eq!(reads("d r a w b e h e a d e d x", "beheaded"), Some((4, 8)));
        assert_eq!(reads("g r a p e", "rape"), None);
    }

    #[test]
    fn what_an_apostrophe_leaves_is_no_word() {
        let words = |text| Text::new(text).words().collect::<Vec<_>>();
        assert_eq!(words("the woman's ex"), ["the", "woman", "ex"]);
        assert_eq!(words("don’t"), ["don"]);
        assert_eq!(words("rock 'n' roll"), ["rock", "n", "roll"]);
        assert_eq!(words("子供a-b"), ["子", "供", "a", "b"]);
    }
}
