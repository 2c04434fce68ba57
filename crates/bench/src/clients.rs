//! The clients: a process of their own that sends prepared requests and takes the time.
//!
//! One thread for each client, one connection for each thread, blocking calls: nothing here is
//! measured but the answers. Told what to do by one line of JSON on the input, it prints one line
//! of JSON with what it saw.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

/// An answer that takes longer is none.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes of a head or a body at most; our answers are a few thousand.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// What the clients are to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Assignment {
    /// Where the service listens.
    pub(crate) address: String,
    /// Whole requests, sent in turn.
    pub(crate) requests: Vec<String>,
    /// How many clients.
    pub(crate) clients: usize,
    /// For how long.
    pub(crate) seconds: f64,
    /// Requests a second of all clients together; without it each sends its next request as soon
    /// as it has the answer.
    pub(crate) rate: Option<f64>,
}

/// What they saw.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Good answers.
    pub(crate) answers: u64,
    /// One of those.
    pub(crate) answer: String,
    /// Other answers.
    pub(crate) refused: u64,
    /// One of those.
    pub(crate) refusal: String,
    /// From the first request to the last answer.
    pub(crate) seconds: f64,
    /// Of good answers, in order.
    pub(crate) latencies_us: Vec<u32>,
}

impl Seen {
    /// The latency that so many of a thousand answers do not exceed.
    pub(crate) fn latency_ms(&self, permille: usize) -> f64 {
        let last = self.latencies_us.len().saturating_sub(1);
        let at = (self.latencies_us.len() * permille / 1000).min(last);
        self.latencies_us
            .get(at)
            .map_or(f64::NAN, |&micros| f64::from(micros) / 1e3)
    }

    /// Good answers a second.
    pub(crate) fn rate(&self) -> f64 {
        self.answers as f64 / self.seconds
    }

    fn add(&mut self, other: Self) {
        self.answers += other.answers;
        self.refused += other.refused;
        self.answer = other.answer;
        self.refusal = other.refusal;
        self.latencies_us.extend(other.latencies_us);
    }
}

/// Does what the input says, and prints what was seen.
///
/// # Errors
/// When the assignment cannot be read or the service cannot be reached.
pub fn run_clients() -> anyhow::Result<()> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    let assignment = serde_json::from_str(&line).context("the clients got no assignment")?;
    println!("{}", serde_json::to_string(&act(&assignment)?)?);
    Ok(())
}

fn act(assignment: &Assignment) -> anyhow::Result<Seen> {
    let connections = (0..assignment.clients)
        .map(|_| Connection::open(&assignment.address))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let began = Instant::now();
    let mut all = std::thread::scope(|scope| {
        let clients: Vec<_> = connections
            .into_iter()
            .enumerate()
            .map(|(number, connection)| {
                scope.spawn(move || {
                    Client {
                        assignment,
                        number,
                        began,
                    }
                    .act(connection)
                })
            })
            .collect();
        let mut all = Seen::default();
        for client in clients {
            all.add(
                client
                    .join()
                    .expect("a client does not panic; this is a bug")?,
            );
        }
        anyhow::Ok(all)
    })?;
    all.seconds = began.elapsed().as_secs_f64();
    all.latencies_us.sort_unstable();
    Ok(all)
}

/// One of the clients.
struct Client<'a> {
    assignment: &'a Assignment,
    number: usize,
    began: Instant,
}

impl Client<'_> {
    fn act(&self, mut connection: Connection) -> anyhow::Result<Seen> {
        let Assignment {
            requests, clients, ..
        } = self.assignment;
        let mut seen = Seen::default();
        for turn in 0.. {
            let Some(due) = self.next_due(turn) else {
                break;
            };
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let request = &requests[(turn * clients + self.number) % requests.len()];
            let answer = connection.ask(request)?;
            let latency = due.elapsed();
            if answer.is_good {
                seen.answers += 1;
                seen.answer = answer.text;
                seen.latencies_us
                    .push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
            } else {
                seen.refused += 1;
                seen.refusal = answer.text;
            }
        }
        Ok(seen)
    }

    /// When the next request is meant to be sent. With a given rate that is fixed beforehand, so
    /// that a slow answer counts for everything that had to wait behind it.
    fn next_due(&self, turn: usize) -> Option<Instant> {
        let due = match self.assignment.rate {
            None => Instant::now(),
            Some(rate) => {
                let place = turn * self.assignment.clients + self.number;
                self.began + Duration::from_secs_f64(place as f64 / rate)
            }
        };
        let end = self.began + Duration::from_secs_f64(self.assignment.seconds);
        (due < end).then_some(due)
    }
}

/// One connection, one question at a time.
struct Connection {
    stream: BufReader<TcpStream>,
}

struct Answer {
    is_good: bool,
    text: String,
}

impl Connection {
    fn open(address: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)
            .with_context(|| format!("cannot reach the service at {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    fn ask(&mut self, request: &str) -> anyhow::Result<Answer> {
        self.stream.get_mut().write_all(request.as_bytes())?;
        let mut status_line = String::new();
        self.stream
            .read_line(&mut status_line)
            .context("no answer came")?;
        let length = self.length_of_body()?;
        let mut body = vec![0; length];
        self.stream
            .read_exact(&mut body)
            .context("an answer broke off")?;
        let text = String::from_utf8_lossy(&body).into_owned();
        let is_good = status_line.starts_with("HTTP/1.1 200") && text.contains("\"result\":true");
        Ok(Answer { is_good, text })
    }

    /// Reads the head to its end.
    fn length_of_body(&mut self) -> anyhow::Result<usize> {
        let mut length = None;
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            let line = line.trim_end();
            match line.split_once(':') {
                None if line.is_empty() => break,
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse().ok();
                }
                _ => {}
            }
        }
        match length {
            Some(length) if length <= MAX_ANSWER_BYTES => Ok(length),
            _ => bail!("an answer came without a reasonable length"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_read_off_in_order() {
        let seen = Seen {
            latencies_us: (1..=1000).collect(),
            ..Seen::default()
        };
        assert_eq!(seen.latency_ms(500), 0.501);
        assert_eq!(seen.latency_ms(990), 0.991);
        assert_eq!(seen.latency_ms(1000), 1.0);
        assert!(Seen::default().latency_ms(500).is_nan());
    }

    #[test]
    fn a_rate_fixes_every_moment_beforehand() {
        let assignment = Assignment {
            address: String::new(),
            requests: Vec::new(),
            clients: 4,
            seconds: 1.0,
            rate: Some(8.0),
        };
        let began = Instant::now();
        let client = Client {
            assignment: &assignment,
            number: 1,
            began,
        };
        let after = |turn| client.next_due(turn).map(|due| due - began);
        assert_eq!(after(0), Some(Duration::from_millis(125)));
        assert_eq!(after(1), Some(Duration::from_millis(625)));
        assert_eq!(after(2), None);
    }
}
