//! One answer: the prompt is read, then word after word is chosen, until something ends it.

use std::ops::ControlFlow;

use crate::{Decoder, Error, Sampler, Sampling, Session, TextStream, Tokenizer};

/// Tokens that are read at a time: enough to repay the reading of the weights, few enough for the
/// caller to be asked often whether to go on.
pub const CHUNK_TOKENS: usize = 128;

/// How an answer is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GenerationOptions {
    /// How words are chosen.
    pub sampling: Sampling,
    /// Tokens of the answer at most.
    pub max_new_tokens: usize,
}

/// How far it is. Given before every chunk of the prompt and after every token of the answer.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// How many of them were read.
    pub read_tokens: usize,
    /// Tokens of the answer so far.
    pub new_tokens: usize,
    /// What was added to the answer's text: may be empty, since a letter may take several tokens.
    pub text: &'a str,
}

/// Why the caller wants no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Halt {
    /// Nobody waits for the answer.
    Cancelled,
    /// Its time is over.
    Deadline,
}

/// What ended an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// The model did.
    End,
    /// It has as many tokens as were allowed, or as there was room for.
    Length,
    /// The caller did.
    Halted(Halt),
}

/// An answer.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    /// Its text, without special words; unfinished unless the model ended it.
    pub text: String,
    /// Its tokens, the last one that ends it left out.
    pub tokens: Vec<u32>,
    /// How many tokens the messages came to.
    pub prompt_tokens: usize,
    /// What ended it.
    pub finish_reason: FinishReason,
}

impl std::fmt::Debug for Reply {
    /// Without the text: answers to prompts do not belong in logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (new, prompt) = (self.tokens.len(), self.prompt_tokens);
        write!(
            f,
            "Reply({new} tokens to {prompt}, {:?})",
            self.finish_reason
        )
    }
}

/// What answers.
pub struct Speaker<'a> {
    pub decoder: &'a Decoder,
    pub tokenizer: &'a Tokenizer,
    /// The tokens that end an answer.
    pub ends: &'a [u32],
}

impl Speaker<'_> {
    /// Continues `prompt`. What the session has read already and is the same is not read again.
    ///
    /// # Errors
    /// The prompt leaves no room, an option is out of its range, or the model is broken.
    pub fn answer(
        &self,
        session: &mut Session,
        prompt: &[u32],
        options: &GenerationOptions,
        go_on: &mut dyn FnMut(&Progress<'_>) -> ControlFlow<Halt>,
    ) -> Result<Reply, Error> {
        if prompt.len() >= session.capacity() {
            return Err(Error::TooLong {
                tokens: prompt.len(),
                context_tokens: session.capacity(),
            });
        }
        let mut sampler = Sampler::new(options.sampling, prompt)?;
        let mut answer = Answer {
            reply: Reply {
                text: String::new(),
                tokens: Vec::new(),
                prompt_tokens: prompt.len(),
                finish_reason: FinishReason::Length,
            },
            stream: TextStream::default(),
        };
        let room = session.capacity() - prompt.len();
        let most = options.max_new_tokens.min(room);
        let mut scores = match self.read(session, prompt, go_on) {
            ControlFlow::Continue(scores) => scores,
            ControlFlow::Break(halt) => return Ok(answer.finish(FinishReason::Halted(halt))),
        };
        while answer.reply.tokens.len() < most {
            let id = sampler.choose(scores.data())?;
            if self.ends.contains(&id) {
                return Ok(answer.finish(FinishReason::End));
            }
            let start = answer.push(self.tokenizer, id);
            let progress = Progress {
                prompt_tokens: prompt.len(),
                read_tokens: prompt.len(),
                new_tokens: answer.reply.tokens.len(),
                text: &answer.reply.text[start..],
            };
            if let ControlFlow::Break(halt) = go_on(&progress) {
                return Ok(answer.finish(FinishReason::Halted(halt)));
            }
            if answer.reply.tokens.len() < most {
                scores = self.decoder.scores(&self.decoder.read(session, &[id]));
            }
        }
        Ok(answer.finish(FinishReason::Length))
    }

    /// Reads the prompt chunk by chunk; gives the scores after its last token.
    fn read(
        &self,
        session: &mut Session,
        prompt: &[u32],
        go_on: &mut dyn FnMut(&Progress<'_>) -> ControlFlow<Halt>,
    ) -> ControlFlow<Halt, tintype_compute::Tensor> {
        let known = session.tokens().iter().zip(prompt);
        let known = known.take_while(|(a, b)| a == b).count();
        // The last one is read in any case, for what follows it.
        session.truncate(known.min(prompt.len() - 1));
        loop {
            let read_tokens = session.tokens().len();
            go_on(&Progress {
                prompt_tokens: prompt.len(),
                read_tokens,
                new_tokens: 0,
                text: "",
            })?;
            let rest = &prompt[read_tokens..];
            let chunk = &rest[..rest.len().min(CHUNK_TOKENS)];
            let hidden = self.decoder.read(session, chunk);
            if chunk.len() == rest.len() {
                let last = hidden.narrow_sequence(chunk.len() - 1, 1);
                return ControlFlow::Continue(self.decoder.scores(&last));
            }
        }
    }
}

/// A reply in the making.
struct Answer {
    reply: Reply,
    stream: TextStream,
}

impl Answer {
    /// Adds a token. Returns where its text begins.
    fn push(&mut self, tokenizer: &Tokenizer, id: u32) -> usize {
        let start = self.reply.text.len();
        self.reply.tokens.push(id);
        let text = self.stream.push(tokenizer, id);
        self.reply.text.push_str(&text);
        start
    }

    fn finish(mut self, reason: FinishReason) -> Reply {
        self.reply.text.push_str(&self.stream.finish());
        self.reply.finish_reason = reason;
        self.reply
    }
}
