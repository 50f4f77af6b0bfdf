//! A scenario's ledger: entries by key, each with the last ledger it lives in.

use std::collections::BTreeMap;
use std::rc::Rc;

use soroban_env_host::e2e_invoke::{LedgerEntryChange, TtlLedgerEntryMeta};
use soroban_env_host::storage::{EntryWithLiveUntil, SnapshotSource};
use soroban_env_host::xdr::{
    ContractDataDurability, LedgerEntry, LedgerEntryData, LedgerEntryExt, LedgerKey,
    LedgerKeyAccount, LedgerKeyContractCode, LedgerKeyContractData, LedgerKeyTrustLine, Limits,
    ReadXdr,
};
use soroban_env_host::HostError;

use crate::scenario::bytes;
use crate::Fallible;

#[derive(Clone, Default)]
pub struct Ledger {
    entries: BTreeMap<LedgerKey, (Rc<LedgerEntry>, Option<u32>)>,
}

/// An entry as the host takes it, and what is known of its lifetime.
pub type Loaded = (Option<Vec<u8>>, Option<TtlLedgerEntryMeta>);

impl Ledger {
    pub fn put(&mut self, data: LedgerEntryData, live_until: Option<u32>) -> Fallible<()> {
        let entry = LedgerEntry {
            last_modified_ledger_seq: 1,
            data,
            ext: LedgerEntryExt::V0,
        };
        self.entries
            .insert(key_of(&entry.data)?, (Rc::new(entry), live_until));
        Ok(())
    }

    /// Loads a key of a footprint as the network does before the host is asked; `None` where an
    /// archived entry stands in the way.
    pub fn load(
        &self,
        key: &LedgerKey,
        sequence: u32,
        restored_until: Option<u32>,
        rent_size: impl Fn(&LedgerEntry, u32) -> Result<u32, HostError>,
    ) -> Fallible<Option<Loaded>> {
        let Some((entry, live_until)) = self.entries.get(key) else {
            return Ok(Some((None, None)));
        };
        let encoded = bytes(&**entry)?;
        let Some(mut live_until_ledger) = *live_until else {
            return Ok(Some((Some(encoded), None)));
        };
        if live_until_ledger < sequence {
            if is_temporary(key) {
                return Ok(Some((None, None)));
            }
            let Some(until) = restored_until else {
                return Ok(None);
            };
            live_until_ledger = until;
        }
        let entry_size_for_rent = rent_size(entry, encoded.len() as u32)?;
        let meta = TtlLedgerEntryMeta {
            live_until_ledger,
            entry_size_for_rent,
        };
        Ok(Some((Some(encoded), Some(meta))))
    }

    pub fn apply(&mut self, changes: &[LedgerEntryChange], sequence: u32) -> Fallible<()> {
        for change in changes {
            let key = LedgerKey::from_xdr(&change.encoded_key, Limits::none())?;
            let until = change
                .ttl_change
                .as_ref()
                .map(|ttl| ttl.new_live_until_ledger);
            if change.read_only {
                if let Some((_, live_until)) = self.entries.get_mut(&key) {
                    *live_until = until;
                }
                continue;
            }
            match &change.encoded_new_value {
                Some(encoded) => {
                    let mut entry = LedgerEntry::from_xdr(encoded, Limits::none())?;
                    entry.last_modified_ledger_seq = sequence;
                    self.entries.insert(key, (Rc::new(entry), until));
                }
                None => {
                    self.entries.remove(&key);
                }
            }
        }
        Ok(())
    }
}

impl SnapshotSource for Ledger {
    fn get(&self, key: &Rc<LedgerKey>) -> Result<Option<EntryWithLiveUntil>, HostError> {
        Ok(self.entries.get(key.as_ref()).cloned())
    }
}

fn is_temporary(key: &LedgerKey) -> bool {
    matches!(
        key,
        LedgerKey::ContractData(LedgerKeyContractData {
            durability: ContractDataDurability::Temporary,
            ..
        })
    )
}

fn key_of(data: &LedgerEntryData) -> Fallible<LedgerKey> {
    Ok(match data {
        LedgerEntryData::Account(account) => LedgerKey::Account(LedgerKeyAccount {
            account_id: account.account_id.clone(),
        }),
        LedgerEntryData::Trustline(line) => LedgerKey::Trustline(LedgerKeyTrustLine {
            account_id: line.account_id.clone(),
            asset: line.asset.clone(),
        }),
        LedgerEntryData::ContractData(data) => LedgerKey::ContractData(LedgerKeyContractData {
            contract: data.contract.clone(),
            key: data.key.clone(),
            durability: data.durability,
        }),
        LedgerEntryData::ContractCode(code) => LedgerKey::ContractCode(LedgerKeyContractCode {
            hash: code.hash.clone(),
        }),
        _ => return Err("scenarios have no entries of this kind".into()),
    })
}
