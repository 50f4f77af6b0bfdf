//! What the network charges and allows, as far as the host wants to know.

use serde::Deserialize;
use sha2::{Digest, Sha256};
use soroban_env_host::budget::Budget;
use soroban_env_host::fees::{FeeConfiguration, RentFeeConfiguration};
use soroban_env_host::xdr::{ContractCostParamEntry, ContractCostParams, ExtensionPoint};
use soroban_env_host::{HostError, LedgerInfo};
use soroban_simulation::NetworkConfig;

use crate::Fallible;

#[derive(Deserialize)]
pub struct Network {
    passphrase: String,
    pub protocol_version: u32,
    base_reserve: u32,
    min_temporary_ttl: u32,
    pub min_persistent_ttl: u32,
    max_entry_ttl: u32,
    max_instructions: u64,
    max_memory: u64,
    fee_per_10k_instructions: i64,
    fee_per_disk_read_entry: i64,
    fee_per_disk_read_1kb: i64,
    fee_per_history_1kb: i64,
    fee_per_events_1kb: i64,
    fee_per_transaction_1kb: i64,
    fee_per_write_entry: i64,
    fee_per_write_1kb: i64,
    rent_fee_per_1kb: i64,
    persistent_rent_denominator: i64,
    temporary_rent_denominator: i64,
    /// Constant and linear term of each cost type.
    instructions_costs: Vec<(i64, i64)>,
    memory_costs: Vec<(i64, i64)>,
}

impl Network {
    pub fn read(path: &str) -> Fallible<Self> {
        Ok(serde_json::from_str(&std::fs::read_to_string(path)?)?)
    }

    pub fn ledger(&self, sequence: u32, timestamp: u64) -> LedgerInfo {
        LedgerInfo {
            protocol_version: self.protocol_version,
            sequence_number: sequence,
            timestamp,
            network_id: Sha256::digest(self.passphrase.as_bytes()).into(),
            base_reserve: self.base_reserve,
            min_temp_entry_ttl: self.min_temporary_ttl,
            min_persistent_entry_ttl: self.min_persistent_ttl,
            max_entry_ttl: self.max_entry_ttl,
        }
    }

    pub fn budget(&self) -> Result<Budget, HostError> {
        Budget::try_from_configs(
            self.max_instructions,
            self.max_memory,
            costs(&self.instructions_costs),
            costs(&self.memory_costs),
        )
    }

    /// The same for the simulation that nodes offer.
    pub fn config(&self) -> NetworkConfig {
        NetworkConfig {
            fee_configuration: FeeConfiguration {
                fee_per_instruction_increment: self.fee_per_10k_instructions,
                fee_per_disk_read_entry: self.fee_per_disk_read_entry,
                fee_per_write_entry: self.fee_per_write_entry,
                fee_per_disk_read_1kb: self.fee_per_disk_read_1kb,
                fee_per_write_1kb: self.fee_per_write_1kb,
                fee_per_historical_1kb: self.fee_per_history_1kb,
                fee_per_contract_event_1kb: self.fee_per_events_1kb,
                fee_per_transaction_size_1kb: self.fee_per_transaction_1kb,
            },
            rent_fee_configuration: self.rent(),
            tx_max_instructions: self.max_instructions as i64,
            tx_memory_limit: self.max_memory as u32,
            cpu_cost_params: costs(&self.instructions_costs),
            memory_cost_params: costs(&self.memory_costs),
            min_temp_entry_ttl: self.min_temporary_ttl,
            min_persistent_entry_ttl: self.min_persistent_ttl,
            max_entry_ttl: self.max_entry_ttl,
        }
    }

    pub fn rent(&self) -> RentFeeConfiguration {
        RentFeeConfiguration {
            fee_per_write_1kb: self.fee_per_write_1kb,
            fee_per_rent_1kb: self.rent_fee_per_1kb,
            fee_per_write_entry: self.fee_per_write_entry,
            persistent_rent_rate_denominator: self.persistent_rent_denominator,
            temporary_rent_rate_denominator: self.temporary_rent_denominator,
        }
    }
}

fn costs(terms: &[(i64, i64)]) -> ContractCostParams {
    let entries: Vec<_> = terms
        .iter()
        .map(|&(const_term, linear_term)| ContractCostParamEntry {
            ext: ExtensionPoint::V0,
            const_term,
            linear_term,
        })
        .collect();
    ContractCostParams(
        entries
            .try_into()
            .expect("there are fewer cost types than XDR allows"),
    )
}
