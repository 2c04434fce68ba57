//! What a model lacks, and what to do about it.

use super::{Component, Survey, recognise::Content, survey::describe};

impl Survey {
    /// Everything that is lacking, each as a part of a sentence; none if a model can be composed.
    pub fn lacks(&self) -> Vec<String> {
        let mut lacks = Vec::new();
        for component in Component::ALL {
            if !self.sources.contains_key(&component) {
                lacks.push(format!(
                    "the {} (such as {})",
                    component.description(),
                    component.usual_file()
                ));
            }
        }
        if !self.tokenizers.contains_key("tokenizer") {
            lacks.push(
                "CLIP's tokenizer (a folder `tokenizer` with vocab.json and merges.txt, or tokenizer.json)"
                    .to_owned(),
            );
        }
        if !self.tokenizers.contains_key("tokenizer_2") && !self.has_embedded_tokenizer() {
            lacks.push("T5's tokenizer (a folder `tokenizer_2` with tokenizer.json)".to_owned());
        }
        if lacks.is_empty() {
            return lacks;
        }
        lacks.extend(self.what_else_was_found());
        lacks
    }

    /// Files that are something else than they seem: the likeliest reason why something is lacking.
    fn what_else_was_found(&self) -> Vec<String> {
        let unreadable = self.unreadable.iter().map(|(_, error)| error.to_string());
        let foreign = self
            .files
            .iter()
            .filter(|file| !matches!(file.content, Content::Parts(_)));
        let foreign = foreign.map(|file| format!("{} is {}", file.name(), describe(&file.content)));
        unreadable.chain(foreign).collect()
    }
}
