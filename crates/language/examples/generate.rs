//! Asks a model of the Qwen3 class: what it answers, and how fast.
//!
//! ```text
//! cargo run --release -p tintype-language --example generate -- MODEL "a red circle" [SYSTEM] [SEED] [THREADS]
//! ```

use std::{io::Write, ops::ControlFlow, path::Path, sync::Arc, time::Instant};

use tintype_compute::CpuDevice;
use tintype_language::{GenerationOptions, LanguageModel, Message, OpenOptions, Sampling};

const USAGE: &str = "generate MODEL TEXT [SYSTEM] [SEED] [THREADS]";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, text, rest @ ..] = &arguments[..] else {
        return Err(USAGE.into());
    };
    let number = |at: usize| rest.get(at).map_or(Ok(0), |text| text.parse::<u64>());
    let (seed, threads) = (number(1)?, number(2)?);
    let (path, options) = (Path::new(path), OpenOptions::default());
    let device = Arc::new(CpuDevice::new(threads.try_into()?));
    let memory = LanguageModel::memory(path, device.clone(), &options)?;
    eprintln!("{memory:?}");
    let began = Instant::now();
    let mut model = LanguageModel::open(path, device, &options)?;
    eprintln!("opened in {:.1} s", began.elapsed().as_secs_f64());

    let system = rest.first().filter(|system| !system.is_empty());
    let mut messages: Vec<Message> = system.map(Message::system).into_iter().collect();
    messages.push(Message::user(text));
    let options = GenerationOptions {
        sampling: Sampling {
            seed,
            ..model.sampling()
        },
        max_new_tokens: 256,
    };
    let (began, mut read) = (Instant::now(), None);
    let reply = model.chat(&messages, &options, &mut |progress| {
        if progress.new_tokens == 1 {
            read = Some(began.elapsed());
        }
        print!("{}", progress.text);
        // Nobody waits for the text if it cannot be written.
        match std::io::stdout().flush() {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(tintype_language::Halt::Cancelled),
        }
    })?;
    println!();
    let read = read.unwrap_or_else(|| began.elapsed());
    let rest = began.elapsed() - read;
    let rate = |tokens: usize, seconds: f64| tokens as f64 / seconds.max(1e-9);
    eprintln!(
        "{reply:?}: {:.1} tokens/s read, {:.1} tokens/s said",
        rate(reply.prompt_tokens, read.as_secs_f64()),
        rate(reply.tokens.len().saturating_sub(1), rest.as_secs_f64())
    );
    Ok(())
}
