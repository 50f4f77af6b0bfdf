//! What scenarios and answers look like. All XDR is in base64.

use base64::{engine::general_purpose::STANDARD, Engine};
use serde::{Deserialize, Serialize};
use soroban_env_host::xdr::{Limits, ReadXdr, WriteXdr};

use crate::Fallible;

pub fn parse<T: ReadXdr>(text: &str) -> Fallible<T> {
    Ok(T::from_xdr(STANDARD.decode(text)?, Limits::none())?)
}

pub fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub fn bytes(value: &impl WriteXdr) -> Fallible<Vec<u8>> {
    Ok(value.to_xdr(Limits::none())?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    pub name: String,
    pub sequence: u32,
    pub timestamp: u64,
    /// `LedgerEntryData` and the last ledger it lives in, where it expires.
    pub entries: Vec<(String, Option<u32>)>,
    /// Names of codes that are uploaded, and the last ledger each lives in.
    #[serde(default)]
    pub codes: Vec<(String, u32)>,
    pub steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub enum Step {
    Jump(Jump),
    Keeping(Keeping),
    Call(Call),
}

/// The ledger moves on, five seconds each.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jump {
    pub ledgers: u32,
}

/// Simulated only: entries are to live longer, or to come back from the archive.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keeping {
    /// `LedgerKey` values.
    pub keys: Vec<String>,
    /// How many ledgers from now they are to live; nothing: they are to come back.
    pub extend_to: Option<u32>,
}

/// A host function is called: simulated while recording authorization, simulated with the
/// authorization given, applied.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// `HostFunction`.
    pub function: String,
    /// `AccountID`.
    pub source: String,
    /// Whether and how authorization is to be recorded.
    pub record: Option<Record>,
    /// `SorobanAuthorizationEntry` values to enforce; nothing is applied without.
    pub auth: Option<Vec<String>>,
    /// `LedgerKey` values that are left out of the footprint when it is applied.
    #[serde(default)]
    pub without: Vec<String>,
    /// `LedgerKey` values that are read-only in the footprint when it is applied.
    #[serde(default)]
    pub read_only: Vec<String>,
    /// Whether archived entries are not asked back when it is applied.
    #[serde(default)]
    pub unrestored: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Whether authorization may be needed below the call itself only.
    pub non_root: bool,
    /// Whether to record the upgraded credentials.
    pub upgraded: bool,
}

#[derive(Serialize)]
pub struct Answers {
    pub name: String,
    /// One per step that is no jump.
    pub steps: Vec<Answer>,
}

#[derive(Serialize, Default)]
pub struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<Outcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub simulate: Option<Outcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apply: Option<Outcome>,
    /// What a node would tell of keeping entries; a failure has neither footprint nor quote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keeping: Option<Outcome>,
}

#[derive(Serialize, Default)]
pub struct Outcome {
    /// Type and code of `SCError`, or that an archived entry was in the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<(String, u32)>,
    /// `SCVal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// `ContractEvent`, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    /// In the order of the footprint: read-only keys, then read-write ones, each sorted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// `SorobanAuthorizationEntry`, as recorded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub auth: Vec<String>,
    /// `DiagnosticEvent`, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub footprint: Option<Footprint>,
    #[serde(skip_serializing_if = "none")]
    pub instructions: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_read_bytes: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_bytes: Option<u32>,
    /// Stroops.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rent: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quote: Option<Quote>,
}

fn none(count: &u64) -> bool {
    *count == 0
}

/// What a node tells of a simulation: instructions with leeway, bytes read from disk and written,
/// and the least resource fee in stroops.
#[derive(Serialize)]
pub struct Quote(pub u32, pub u32, pub u32, pub i64);

#[derive(Serialize, Default)]
pub struct Footprint {
    pub read_only: Vec<String>,
    pub read_write: Vec<String>,
    /// Positions in `read_write` of entries that come back from the archive.
    pub restored: Vec<u32>,
}

/// Key; `LedgerEntryData` after it, for read-write entries that are there; the last ledger it lived
/// in before and lives in after, 0 where it did not or does not, or never expires.
#[derive(Serialize)]
pub struct Change(pub String, pub Option<String>, pub u32, pub u32);
