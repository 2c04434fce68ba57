//! The benchmark without the models: compiles in a fraction of the time of `tintype bench api`.
//!
//! ```text
//! cargo run --release -p tintype-bench --example api -- [SECONDS] [CLIENTS] [FINISHED,…] [tasks|detail]
//! ```

use std::path::PathBuf;
use std::time::Duration;

use tintype_bench::{Only, Options, bench_in_process, run_clients};

/// The word that makes this program the clients.
const CLIENTS: &str = "clients";

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == CLIENTS) {
        return run_clients();
    }
    let number =
        |at: usize, default: &str| arguments.get(at).map_or(default, |text| text).to_owned();
    let options = Options {
        duration: Duration::from_secs_f64(number(0, "3").parse()?),
        clients: number(1, "64").parse()?,
        finished: number(2, "1000")
            .split(',')
            .map(str::parse)
            .collect::<Result<_, _>>()?,
        only: match arguments.get(3).map(String::as_str) {
            Some("tasks") => Some(Only::Tasks),
            Some("detail") => Some(Only::Detail),
            _ => None,
        },
        folder: PathBuf::from("work/bench"),
        pictures_on_disk: std::env::var_os("IN_MEMORY").is_none(),
        client_arguments: vec![CLIENTS.into()],
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    println!("{}", runtime.block_on(bench_in_process(&options))?);
    Ok(())
}
