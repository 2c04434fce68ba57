//! Whole chats: what ends an answer, and what keeps a model from giving one.

use std::{fs, ops::ControlFlow, path::Path, sync::Arc};

use tintype_compute::CpuDevice;
use tintype_language::{
    Error, FinishReason, GenerationOptions, Halt, LanguageModel, Message, OpenOptions, Progress,
    Reply, Sampling,
};

use crate::common::{change, copy, folder};

fn open_with(folder: &Path, threads: usize, context_tokens: usize) -> Result<LanguageModel, Error> {
    let options = OpenOptions {
        context_tokens,
        ..OpenOptions::default()
    };
    LanguageModel::open(folder, Arc::new(CpuDevice::new(threads)), &options)
}

fn open(folder: &Path) -> LanguageModel {
    open_with(folder, 1, 400).expect("opens")
}

fn refused(folder: &Path) -> String {
    open_with(folder, 1, 400).expect_err("refused").to_string()
}

fn options(sampling: Sampling, max_new_tokens: usize) -> GenerationOptions {
    GenerationOptions {
        sampling,
        max_new_tokens,
    }
}

fn warm(seed: u64) -> Sampling {
    Sampling {
        temperature: 1.0,
        top_k: 0,
        top_p: 1.0,
        seed,
        ..Sampling::default()
    }
}

fn on(_: &Progress<'_>) -> ControlFlow<Halt> {
    ControlFlow::Continue(())
}

fn ask(model: &mut LanguageModel, text: &str, options: GenerationOptions) -> Reply {
    let messages = [Message::system("Rewrite."), Message::user(text)];
    model.chat(&messages, &options, &mut on).expect("answers")
}

#[test]
fn the_answer_is_the_best_continuation_and_ends_at_the_limit() {
    for case in ["tied", "untied"] {
        let mut model = open(&folder(case));
        let reply = ask(&mut model, "a red circle", options(Sampling::greedy(), 12));
        assert_eq!(reply.finish_reason, FinishReason::Length);
        assert_eq!(reply.tokens.len(), 12);
        assert_eq!(model.tokenizer().decode(&reply.tokens), reply.text);
        // Step by step, without a cache.
        let messages = [Message::system("Rewrite."), Message::user("a red circle")];
        let mut ids = model.prompt(&messages).expect("encodes");
        assert_eq!(reply.prompt_tokens, ids.len());
        for &token in &reply.tokens {
            let decoder = model.decoder();
            let hidden = decoder.read(&mut decoder.session(ids.len()), &ids);
            let scores = decoder.scores(&hidden.narrow_sequence(ids.len() - 1, 1));
            let best = (0_u32..).zip(scores.data());
            let best = best.max_by(|a, b| a.1.total_cmp(b.1)).expect("words").0;
            assert_eq!(token, best);
            ids.push(token);
        }
    }
}

#[test]
fn the_word_that_generation_config_names_ends_the_answer() {
    let folder = copy("tied");
    let whole = ask(
        &mut open(folder.path()),
        "two stars",
        options(Sampling::greedy(), 20),
    );
    let end = whole.tokens[7];
    let before = whole
        .tokens
        .iter()
        .position(|&id| id == end)
        .expect("is there");
    change(
        folder.path(),
        "generation_config.json",
        "417\n",
        &format!("{end}\n"),
    );
    let reply = ask(
        &mut open(folder.path()),
        "two stars",
        options(Sampling::greedy(), 20),
    );
    assert_eq!(reply.finish_reason, FinishReason::End);
    assert_eq!(reply.tokens, whole.tokens[..before]);
    assert!(whole.text.starts_with(&reply.text));
}

#[test]
fn a_seed_gives_one_text_whatever_the_threads_and_the_past() {
    let draw =
        |model: &mut LanguageModel, seed| ask(model, "a blue square", options(warm(seed), 40));
    let mut model = open(&folder("tied"));
    let first = draw(&mut model, 5);
    let other = draw(&mut model, 6);
    assert_ne!(first, other);
    ask(
        &mut model,
        "something else, and longer than that",
        options(warm(9), 3),
    );
    assert_eq!(draw(&mut model, 5), first);
    for threads in [2, 3] {
        let mut model = open_with(&folder("tied"), threads, 300).expect("opens");
        assert_eq!(draw(&mut model, 5), first);
        assert_eq!(draw(&mut model, 6), other);
    }
}

#[test]
fn the_caller_is_asked_on_the_way_and_may_halt_anywhere() {
    let mut model = open(&folder("tied"));
    let text = "words and words ".repeat(15);
    let messages = [Message::user(text)];
    let options = options(warm(3), 30);
    let mut seen = Vec::new();
    let mut text = String::new();
    let whole = model.chat(&messages, &options, &mut |progress| {
        seen.push((progress.read_tokens, progress.new_tokens));
        text.push_str(progress.text);
        ControlFlow::Continue(())
    });
    let whole = whole.expect("answers");
    let prompt = whole.prompt_tokens;
    assert!(prompt > 128, "{prompt}");
    assert_eq!(seen[..3], [(0, 0), (128, 0), (prompt, 1)]);
    assert_eq!(seen.len(), 2 + whole.tokens.len());
    // Only the beginning of a letter may be missing.
    assert!(whole.text.starts_with(&text));
    for (at, halt) in [
        (1_usize, Halt::Cancelled),
        (2, Halt::Deadline),
        (9, Halt::Cancelled),
    ] {
        let mut model = open(&folder("tied"));
        let mut asked = 0;
        let reply = model.chat(&messages, &options, &mut |_| {
            asked += 1;
            match asked == at {
                true => ControlFlow::Break(halt),
                false => ControlFlow::Continue(()),
            }
        });
        let reply = reply.expect("is no error");
        assert_eq!(asked, at);
        assert_eq!(reply.finish_reason, FinishReason::Halted(halt));
        assert_eq!(reply.tokens, whole.tokens[..at.saturating_sub(2)]);
        // The next chat knows nothing of it.
        let again = model.chat(&messages, &options, &mut on).expect("answers");
        assert_eq!(again, whole);
    }
}

#[test]
fn messages_without_room_are_an_error_and_little_room_is_a_short_answer() {
    let messages = [Message::user("a green star")];
    let mut model = open(&folder("tied"));
    let tokens = model.prompt(&messages).expect("encodes").len();
    let options = options(Sampling::greedy(), 50);
    let whole = model.chat(&messages, &options, &mut on).expect("answers");
    let mut model = open_with(&folder("tied"), 1, tokens + 3).expect("opens");
    let reply = model.chat(&messages, &options, &mut on).expect("answers");
    assert_eq!(reply.finish_reason, FinishReason::Length);
    assert_eq!(reply.tokens, whole.tokens[..3]);
    for room in [tokens, 5] {
        let mut model = open_with(&folder("tied"), 1, room).expect("opens");
        let error = model
            .chat(&messages, &options, &mut on)
            .expect_err("no room");
        let message = error.to_string();
        assert!(
            message.contains(&format!("come to {tokens} tokens")),
            "{message}"
        );
        assert!(message.contains(&format!("holds {room} ")), "{message}");
    }
    // Never more than the model was made for.
    let model = open_with(&folder("untied"), 1, 1 << 20).expect("opens");
    assert_eq!(model.context_tokens(), 256);
}

#[test]
fn recommendations_come_from_the_folder() {
    let copied = copy("tied");
    let file = copied.path().join("generation_config.json");
    let found = open(copied.path()).sampling();
    let expected = Sampling {
        temperature: 0.6,
        top_k: 20,
        top_p: 0.95,
        ..Sampling::default()
    };
    assert_eq!(found, expected);
    fs::write(&file, r#"{"do_sample": false, "temperature": 0.6}"#).expect("writable");
    assert_eq!(open(copied.path()).sampling().temperature, 0.0);
    fs::remove_file(&file).expect("is there");
    assert_eq!(open(copied.path()).sampling(), Sampling::default());
    fs::write(&file, "{").expect("writable");
    assert!(refused(copied.path()).contains("generation_config.json"));
}

#[test]
fn folders_that_hold_no_such_model_are_refused_with_the_reason() {
    let folder = copy("tied");
    change(folder.path(), "config.json", "\"qwen3\"", "\"llama\"");
    let message = refused(folder.path());
    assert!(message.contains("`llama`; expected `qwen3`"), "{message}");

    let folder = copy("tied");
    change(
        folder.path(),
        "config.json",
        "\"vocab_size\": 436",
        "\"vocab_size\": 420",
    );
    let message = refused(folder.path());
    assert!(
        message.contains("424 ids") && message.contains("420"),
        "{message}"
    );

    let folder = copy("tied");
    change(folder.path(), "tokenizer.json", "<|im_start|>", "<|other|>");
    let message = refused(folder.path());
    assert!(message.contains("lacks the word <|im_start|>"), "{message}");

    for file in ["config.json", "tokenizer.json"] {
        let folder = copy("tied");
        fs::remove_file(folder.path().join(file)).expect("is there");
        assert!(refused(folder.path()).contains(file));
    }
    let folder = copy("untied");
    fs::remove_file(folder.path().join("model-00003-of-00007.safetensors")).expect("is there");
    assert!(refused(folder.path()).contains("model-00003-of-00007.safetensors"));
}

#[test]
fn logs_show_no_texts() {
    let mut model = open(&folder("tied"));
    let message = Message::user("a secret garden");
    let reply = ask(&mut model, "a secret garden", options(warm(1), 5));
    let shown = format!("{message:?} {reply:?} {model:?}");
    assert!(
        !shown.contains("secret") && !shown.contains(&reply.text),
        "{shown}"
    );
}

#[test]
fn packed_layers_come_back_from_their_cache() {
    let cache = tempfile::tempdir().expect("a temporary folder");
    for case in ["tied", "untied"] {
        let plain = ask(&mut open(&folder(case)), "two stars", options(warm(4), 20));
        let kept = OpenOptions {
            packed_cache: Some(cache.path().to_owned()),
            context_tokens: 400,
        };
        for _ in 0..2 {
            let device = Arc::new(CpuDevice::new(1));
            let mut model = LanguageModel::open(&folder(case), device, &kept).expect("opens");
            let reply = ask(&mut model, "two stars", options(warm(4), 20));
            assert_eq!(reply, plain, "{case}");
        }
    }
    let files = fs::read_dir(cache.path()).expect("is there").count();
    assert!(files >= 2, "{files} files");
}
