//! Chats as Qwen's models were taught them (ChatML): who says what, between marks that no text can
//! imitate.

use crate::{Error, Tokenizer};

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Whoever set the model up.
    System,
    /// Whoever asks.
    User,
    /// The model.
    Assistant,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// One turn of a chat.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What.
    pub text: String,
}

impl Message {
    /// What whoever set the model up says.
    pub fn system(text: impl Into<String>) -> Self {
        Self {
            role: Role::System,
            text: text.into(),
        }
    }

    /// What the one who asks says.
    pub fn user(text: impl Into<String>) -> Self {
        Self {
            role: Role::User,
            text: text.into(),
        }
    }

    /// What the model said.
    pub fn assistant(text: impl Into<String>) -> Self {
        Self {
            role: Role::Assistant,
            text: text.into(),
        }
    }
}

impl std::fmt::Debug for Message {
    /// Without the text: prompts do not belong in logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Message({}, {} bytes)",
            self.role.name(),
            self.text.len()
        )
    }
}

/// The ids that chats are made of.
#[derive(Debug, Clone, Copy)]
pub struct Marks {
    /// `<|im_start|>`
    start: u32,
    /// `<|im_end|>`
    pub end: u32,
    /// `<think>` and `</think>`, for a model that would else think aloud first.
    think: Option<(u32, u32)>,
}

impl Marks {
    /// Those of a tokenizer; `thinks` says whether the model's answers begin with thoughts, which an
    /// empty pair of marks in their place keeps it from.
    ///
    /// # Errors
    /// The tokenizer has no such marks: the model was not made for chats of this form.
    pub fn of(tokenizer: &Tokenizer, thinks: bool) -> Result<Self, Error> {
        Ok(Self {
            start: tokenizer.mark("<|im_start|>")?,
            end: tokenizer.mark("<|im_end|>")?,
            think: match thinks {
                true => Some((tokenizer.mark("<think>")?, tokenizer.mark("</think>")?)),
                false => None,
            },
        })
    }
}

/// The ids of a chat up to where the model's answer begins.
///
/// # Errors
/// A text cannot be spelled.
pub fn prompt(
    tokenizer: &Tokenizer,
    marks: Marks,
    messages: &[Message],
) -> Result<Vec<u32>, Error> {
    let mut ids = Vec::new();
    let line = tokenizer.encode("\n")?;
    for message in messages {
        ids.push(marks.start);
        let text = format!("{}\n{}", message.role.name(), message.text);
        ids.extend(tokenizer.encode(&text)?);
        ids.push(marks.end);
        ids.extend(&line);
    }
    ids.push(marks.start);
    ids.extend(tokenizer.encode("assistant\n")?);
    if let Some((open, close)) = marks.think {
        let lines = tokenizer.encode("\n\n")?;
        ids.push(open);
        ids.extend(&lines);
        ids.push(close);
        ids.extend(&lines);
    }
    Ok(ids)
}
