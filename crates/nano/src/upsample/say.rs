//! Says a scene in one of the ways in which the model was taught.

use super::{Ground, Object, Scene};
use crate::language::Language;

impl Object {
    /// `a large red circle with a black outline in the top left`, without what is not known.
    pub(super) fn phrase(&self, language: &Language) -> String {
        let outline = self.outline.as_ref();
        let outline = outline.map(|colour| match self.count {
            None => format!(" with a {colour} outline"),
            Some(_) => format!(" with {colour} outlines"),
        });
        let place = self.place.as_ref().map(|place| format!(" in the {place}"));
        let noun = self.noun(language);
        let tail = [outline, place].map(Option::unwrap_or_default).concat();
        format!("{noun}{tail}")
    }

    /// `a large red circle`, `three stars`
    fn noun(&self, language: &Language) -> String {
        let shape = self.shape.as_deref().unwrap_or("shape");
        let shape = match self.count {
            None => shape.to_owned(),
            Some(_) => plural(language, shape),
        };
        let words = [self.size.clone(), self.colour.clone(), Some(shape)];
        let words = words.into_iter().flatten().collect::<Vec<_>>().join(" ");
        match &self.count {
            Some(count) => format!("{count} {words}"),
            None => with_article(&words),
        }
    }
}

/// As the language has it among the words for a shape.
fn plural(language: &Language, shape: &str) -> String {
    let words = language.shapes.get(shape).into_iter().flatten();
    let longer =
        |word: &&String| word.len() > shape.len() && word.starts_with(shape) && word.ends_with('s');
    words
        .clone()
        .find(longer)
        .map_or_else(|| format!("{shape}s"), Clone::clone)
}

fn with_article(words: &str) -> String {
    let article = if words.starts_with(['a', 'e', 'i', 'o', 'u']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {words}")
}

impl Ground {
    /// `striped navy`
    fn words(&self) -> String {
        let pattern = self.pattern.iter().filter(|pattern| *pattern != "plain");
        let words: Vec<_> = pattern.chain(&self.name).cloned().collect();
        words.join(" ")
    }

    /// ` on a striped navy background`
    fn phrase(&self) -> String {
        format!(" on {} background", with_article(&self.words()))
    }

    /// The same in fewer words.
    fn short_phrase(&self) -> String {
        let words = self.words();
        if words.contains(' ') {
            format!(", {words} background")
        } else {
            format!(" on {words}")
        }
    }
}

impl Scene {
    /// As much of it as the model reads: with shorter words, or with the sizes left as they were said.
    pub(super) fn text_that_fits(&self, language: &Language, said: &Self) -> Option<String> {
        let mut plainer = self.clone();
        for (object, said) in plainer.objects.iter_mut().zip(&said.objects) {
            object.size.clone_from(&said.size);
        }
        let texts = [
            self.objects_phrase(language) + &self.ground.phrase(),
            self.objects_phrase(language) + &self.ground.short_phrase(),
            plainer.objects_phrase(language) + &plainer.ground.short_phrase(),
        ];
        let fits = |text: &String| pieces(text) <= language.choices.most_pieces;
        texts.into_iter().find(fits)
    }

    fn objects_phrase(&self, language: &Language) -> String {
        let phrases: Vec<_> = self
            .objects
            .iter()
            .map(|object| object.phrase(language))
            .collect();
        match (
            self.relation.as_deref(),
            phrases.as_slice(),
            self.objects.as_slice(),
        ) {
            (Some("between"), [middle, one, other], _) => {
                format!("{middle} between {one} and {other}")
            }
            // Both stand where either was said to.
            (Some(relation), [_, _], [first, second]) => {
                let place = first.place.clone().or_else(|| second.place.clone());
                let first = Object {
                    place: None,
                    ..first.clone()
                };
                let second = Object {
                    place,
                    ..second.clone()
                };
                format!(
                    "{} {relation} {}",
                    first.phrase(language),
                    second.phrase(language)
                )
            }
            (_, [rest @ .., last], _) if !rest.is_empty() => {
                format!("{} and {last}", rest.join(", "))
            }
            _ => phrases.concat(),
        }
    }
}

/// Words and commas: each is one piece to the text encoders.
pub(super) fn pieces(text: &str) -> usize {
    text.split(' ').count() + text.matches(',').count()
}
