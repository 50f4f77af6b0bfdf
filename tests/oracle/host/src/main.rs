//! Plays scenarios on the network's own contract host.
//!
//! `oracle NETWORK.json [NAME=CODE.wasm ...] < scenarios.jsonl > answers.jsonl`
//!
//! Each line of input is a scenario, each line of output its answers; `scenario.rs` says what both
//! look like. A scenario has a ledger of its own that its steps change.

mod compiler;
mod host;
mod ledger;
mod network;
mod scenario;

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufWriter, Write};

use network::Network;
use scenario::{Answers, Scenario};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Fallible<()> {
    let mut args = std::env::args().skip(1);
    let settings = args
        .next()
        .ok_or("usage: oracle NETWORK.json [NAME=CODE.wasm ...]")?;
    let network = Network::read(&settings)?;
    let mut codes = BTreeMap::new();
    for arg in args {
        let (name, path) = arg
            .split_once('=')
            .ok_or("codes are named: NAME=CODE.wasm")?;
        let entry = host::uploaded(&network, std::fs::read(path)?)?;
        codes.insert(name.to_string(), entry);
    }
    let cache = host::compile(&network, &codes)?;
    let mut out = BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().lines() {
        let scenario: Scenario = serde_json::from_str(&line?)?;
        let answers = Answers {
            name: scenario.name.clone(),
            steps: host::play(&network, &codes, &cache, &scenario)
                .map_err(|problem| format!("{}: {problem}", scenario.name))?,
        };
        serde_json::to_writer(&mut out, &answers)?;
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}
