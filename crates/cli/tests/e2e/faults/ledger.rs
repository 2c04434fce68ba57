//! What the clients asked for, and what they were told.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use serde_json::{Value, json};

/// An answer to a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    pub id: String,
    pub token: String,
}

/// One run that a client wants, however often it has to ask.
#[derive(Debug, Clone)]
pub struct Order {
    pub number: u64,
    /// Where its end is to be reported.
    pub callback: String,
}

impl Order {
    /// Sent with every try.
    pub fn key(&self) -> String {
        format!("order-{}", self.number)
    }

    pub fn inputs(&self) -> Value {
        json!({
            "prompt": "a red circle",
            "seed": self.number,
            "aspectRatio": "1:1",
            "callbackUrl": self.callback,
        })
    }
}

/// All orders. Shared by the clients.
#[derive(Debug)]
pub struct Ledger {
    callback: String,
    orders: Mutex<BTreeMap<u64, Option<Accepted>>>,
}

impl Ledger {
    /// One whose orders are all to be reported there.
    pub fn new(callback: &str) -> Self {
        Self {
            callback: callback.to_owned(),
            orders: Mutex::default(),
        }
    }

    fn order(&self, number: u64) -> Order {
        Order {
            number,
            callback: self.callback.clone(),
        }
    }

    fn orders(&self) -> MutexGuard<'_, BTreeMap<u64, Option<Accepted>>> {
        self.orders.lock().expect("no panic")
    }

    /// A new order.
    pub fn open(&self) -> Order {
        let mut orders = self.orders();
        let number = orders.len() as u64;
        orders.insert(number, None);
        self.order(number)
    }

    /// Orders that were never answered.
    pub fn unanswered(&self) -> Vec<Order> {
        let orders = self.orders();
        let unanswered = orders.iter().filter(|(_, accepted)| accepted.is_none());
        unanswered.map(|(&number, _)| self.order(number)).collect()
    }

    /// Takes an answer down. An order that was answered before has to get the same one.
    pub fn accepted(&self, order: &Order, accepted: Accepted) {
        let mut orders = self.orders();
        let known = orders.get_mut(&order.number).expect("it was opened");
        if let Some(before) = known {
            assert_eq!(*before, accepted, "order {} has one answer", order.number);
        }
        *known = Some(accepted);
    }

    /// Everything that was acknowledged.
    pub fn all(&self) -> Vec<(Order, Accepted)> {
        let orders = self.orders();
        let answered = orders
            .iter()
            .filter_map(|(&number, accepted)| Some((self.order(number), accepted.clone()?)));
        answered.collect()
    }
}
