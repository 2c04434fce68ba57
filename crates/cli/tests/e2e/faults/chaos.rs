//! `kill -9` again and again while clients submit: at random moments, while the server starts,
//! and at chosen moments inside it.
//!
//! `TINTYPE_KILLS` sets how often (`./check --long`: 200), `TINTYPE_SEED` repeats a run's choices.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tintype_service::test_support::Receiver;
use tokio::task::JoinSet;

use super::accounts::{
    all_ended, all_were_reported, histories_are_whole, money_adds_up, put_a_price_on_runs,
};
use super::ledger::Ledger;
use super::{ABORT_AT, serve};
use crate::client::{Client, Keys};
use crate::server::{LOOK_AGAIN, LOOKS, Place, Server};

/// In the normal check.
const KILLS: u64 = 10;

/// Clients at a time.
const CLIENTS: usize = 3;

/// Runs that each of them asks for between two deaths.
const ORDERS: usize = 3;

/// A kill from outside comes within this time after the server is up. It has to be time: that is
/// what makes the moment a random one.
const LIFE_MS: u64 = 600;

/// The same while it starts.
const START_MS: u64 = 150;

/// A chosen moment that a server does not get to within this time is given up for a kill.
const MOMENT_LOOKS: usize = 60;

/// Moments inside the server, see `tintype_store::moments::reached` in its sources.
const MOMENTS: [&str; 5] = ["claim", "committed", "blob", "submitted", "webhook"];

/// A server gets this often to its moment before it dies there.
const TIMES: u32 = 8;

/// Lets reports go to this machine.
const LOOPBACK: &str = "allowed_private_targets = [\"127.0.0.1\"]";

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// How a server comes to its end.
#[derive(Debug)]
enum Death {
    /// Some milliseconds after it was started, perhaps before it is up.
    Starting(u64),
    /// Some milliseconds after it was up.
    Running(u64),
    /// When it gets to a moment for so many times.
    At(&'static str, u32),
}

impl Death {
    fn draw(rng: &mut StdRng) -> Self {
        match rng.random_range(0..8) {
            0 => Self::Starting(rng.random_range(0..START_MS)),
            1..4 => Self::Running(rng.random_range(0..LIFE_MS)),
            _ => Self::At(
                MOMENTS[rng.random_range(0..MOMENTS.len())],
                rng.random_range(1..=TIMES),
            ),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_or_done_twice_however_often_the_server_dies() {
    let kills = variable("TINTYPE_KILLS").unwrap_or(KILLS);
    let seed = variable("TINTYPE_SEED").unwrap_or_else(|| rand::rng().random_range(0..1 << 32));
    println!("TINTYPE_SEED={seed} TINTYPE_KILLS={kills}");
    let mut rng = StdRng::seed_from_u64(seed);
    let place = Place::with_configuration(LOOPBACK);
    let receiver = Receiver::always(200).await;
    let first = Server::start(serve(&place));
    let keys = first.keys.clone().expect("a first start");
    first.kill();
    put_a_price_on_runs(&place).await;
    let ledger = Arc::new(Ledger::new(&receiver.url));
    for number in 1..=kills {
        let death = Death::draw(&mut rng);
        println!("death {number}: {death:?}");
        live_and_die(&place, &keys, &ledger, death).await;
    }
    let mut server = Server::start(serve(&place));
    let client = Client::new(&server.url, keys);
    for order in ledger.unanswered() {
        let accepted = client.try_run(&order).await;
        ledger.accepted(&order, accepted.expect("this server lives"));
    }
    let succeeded = all_ended(&client, &ledger).await;
    // Whoever asks again, now or after a restart, gets the same task.
    for (order, _) in ledger.all() {
        let again = client.try_run(&order).await.expect("this server lives");
        ledger.accepted(&order, again);
    }
    client.queue_is_empty().await;
    all_were_reported(&receiver, &ledger).await;
    server.signal("-TERM");
    assert!(server.ended().await.success());
    let orders = ledger.all().len();
    println!("{orders} orders, {succeeded} of them drawn");
    assert_eq!(
        histories_are_whole(&place).await,
        orders,
        "no order became two tasks"
    );
    money_adds_up(&place, succeeded).await;
}

/// One server, from its start to its death, and the clients that ask it meanwhile.
async fn live_and_die(place: &Place, keys: &Keys, ledger: &Arc<Ledger>, death: Death) {
    let mut command = serve(place);
    match death {
        Death::At(moment, times) => command.env(ABORT_AT, format!("{moment}:{times}")),
        Death::Starting(millis) => {
            let mut server = command
                .stdout(std::process::Stdio::null())
                .spawn()
                .expect("it starts");
            tokio::time::sleep(Duration::from_millis(millis)).await;
            server.kill().expect("it runs");
            server.wait().expect("it ends");
            return;
        }
        Death::Running(_) => &mut command,
    };
    let Some(mut server) = Server::try_start(command) else {
        return; // it died at its moment while it started
    };
    let clients = send_clients(&server, keys, ledger);
    match death {
        Death::Running(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
        _ => {
            for _ in 0..MOMENT_LOOKS.min(LOOKS) {
                if server.has_ended() {
                    break;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
    }
    server.kill();
    clients.join_all().await;
}

/// Clients that ask again for what was not answered, and for more, until nobody answers any more.
fn send_clients(server: &Server, keys: &Keys, ledger: &Arc<Ledger>) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    let unanswered = ledger.unanswered();
    for number in 0..CLIENTS {
        let client = Client::new(&server.url, keys.clone());
        let ledger = Arc::clone(ledger);
        let own = unanswered.iter().skip(number).step_by(CLIENTS);
        let mut orders: Vec<_> = own.cloned().collect();
        clients.spawn(async move {
            orders.extend((0..ORDERS).map(|_| ledger.open()));
            for order in orders {
                match client.try_run(&order).await {
                    Some(accepted) => ledger.accepted(&order, accepted),
                    None => return,
                }
            }
        });
    }
    clients
}
