//! Asks the host, through the interface the network itself embeds it by.

use std::collections::BTreeMap;
use std::rc::Rc;

use soroban_env_host::budget::Budget;
use soroban_env_host::e2e_invoke::{
    entry_size_for_rent, extract_rent_changes, invoke_host_function,
    invoke_host_function_in_recording_mode, InvokeHostFunctionRecordingModeResult,
    LedgerEntryChange, RecordingInvocationAuthMode,
};
use soroban_env_host::fees::compute_rent_fee;
use soroban_env_host::xdr::{
    AccountId, DiagnosticEvent, HostFunction, LedgerEntry, LedgerEntryData, LedgerFootprint,
    LedgerKey, Limits, ReadXdr, SorobanAuthorizationEntry, SorobanResources,
    SorobanTransactionData, WriteXdr,
};
use soroban_env_host::{HostError, LedgerInfo, ModuleCache};

use soroban_simulation::simulation::{
    simulate_extend_ttl_op, simulate_invoke_host_function_op, simulate_restore_op,
    SimulationAdjustmentConfig,
};

use crate::compiler::compiled;
use crate::ledger::Ledger;
use crate::network::Network;
use crate::scenario::{
    bytes, encode, parse, Answer, Call, Change, Footprint, Keeping, Outcome, Quote, Record,
    Scenario, Step,
};
use crate::Fallible;

const SEED: [u8; 32] = [7; 32];
const SECONDS_PER_LEDGER: u64 = 5;

/// The entry that uploading a code leaves.
pub fn uploaded(network: &Network, code: Vec<u8>) -> Fallible<LedgerEntryData> {
    let function = HostFunction::UploadContractWasm(code.try_into()?);
    let result = invoke_host_function_in_recording_mode(
        &network.budget()?,
        false,
        &function,
        &parse::<AccountId>(&encode(&[0; 36]))?,
        RecordingInvocationAuthMode::Enforcing(vec![]),
        network.ledger(2, 0),
        Rc::new(Ledger::default()),
        SEED,
        &mut vec![],
    )?;
    result.invoke_result?;
    let code = result
        .ledger_changes
        .into_iter()
        .find_map(|change| change.encoded_new_value);
    let entry = LedgerEntry::from_xdr(code.ok_or("no code was stored")?, Limits::none())?;
    Ok(entry.data)
}

/// All codes, ready to run.
pub fn compile(
    network: &Network,
    codes: &BTreeMap<String, LedgerEntryData>,
) -> Fallible<ModuleCache> {
    let entries = codes.values().filter_map(|data| match data {
        LedgerEntryData::ContractCode(code) => Some(code),
        _ => None,
    });
    Ok(compiled(
        entries,
        network.budget()?,
        network.protocol_version,
    )?)
}

/// Plays a scenario's steps in order; an answer for each call.
pub fn play(
    network: &Network,
    codes: &BTreeMap<String, LedgerEntryData>,
    cache: &ModuleCache,
    scenario: &Scenario,
) -> Fallible<Vec<Answer>> {
    let mut ledger = Ledger::default();
    for (entry, live_until) in &scenario.entries {
        ledger.put(parse(entry)?, *live_until)?;
    }
    for (name, live_until) in &scenario.codes {
        let code = codes
            .get(name)
            .ok_or_else(|| format!("no code of the name {name}"))?;
        ledger.put(code.clone(), Some(*live_until))?;
    }
    let mut stage = Stage {
        network,
        cache,
        ledger,
        sequence: scenario.sequence,
        timestamp: scenario.timestamp,
    };
    let mut answers = vec![];
    for step in &scenario.steps {
        match step {
            Step::Jump(jump) => {
                stage.sequence += jump.ledgers;
                stage.timestamp += SECONDS_PER_LEDGER * u64::from(jump.ledgers);
            }
            Step::Keeping(keeping) => answers.push(stage.keep(keeping)?),
            Step::Call(call) => answers.push(stage.call(call)?),
        }
    }
    Ok(answers)
}

struct Stage<'a> {
    network: &'a Network,
    cache: &'a ModuleCache,
    ledger: Ledger,
    sequence: u32,
    timestamp: u64,
}

impl Stage<'_> {
    fn call(&mut self, call: &Call) -> Fallible<Answer> {
        let mut answer = Answer::default();
        if let Some(Record { non_root, upgraded }) = call.record {
            let mode = RecordingInvocationAuthMode::recording(!non_root, upgraded);
            let mut outcome = self.simulate(call, mode)?.1;
            let mode = RecordingInvocationAuthMode::recording(!non_root, upgraded);
            outcome.quote = self.quote(call, mode)?;
            answer.record = Some(outcome);
        }
        if let Some(encoded) = &call.auth {
            let auth = encoded
                .iter()
                .map(|entry| parse(entry))
                .collect::<Fallible<Vec<_>>>()?;
            let mode = RecordingInvocationAuthMode::Enforcing(auth.clone());
            let (resources, mut simulated) = self.simulate(call, mode)?;
            let mode = RecordingInvocationAuthMode::Enforcing(auth.clone());
            simulated.quote = self.quote(call, mode)?;
            let restored = simulated.footprint.as_ref().map(|f| f.restored.clone());
            answer.simulate = Some(simulated);
            let asked = if call.unrestored { None } else { restored };
            answer.apply = Some(self.apply(call, &auth, resources, asked.unwrap_or_default())?);
        }
        Ok(answer)
    }

    fn keep(&self, keeping: &Keeping) -> Fallible<Answer> {
        let (config, info) = (self.network.config(), self.info());
        let adjustment = SimulationAdjustmentConfig::default_adjustment();
        let keys = keys(&keeping.keys)?;
        let simulated = match keeping.extend_to {
            Some(to) => {
                simulate_extend_ttl_op(&self.ledger, &config, &adjustment, &info, &keys, to)
                    .map(|result| result.transaction_data)
            }
            None => simulate_restore_op(&self.ledger, &config, &adjustment, &info, &keys)
                .map(|result| result.transaction_data),
        };
        let mut outcome = Outcome::default();
        if let Ok(data) = simulated {
            outcome.footprint = Some(Footprint {
                read_only: texts(&data.resources.footprint.read_only)?,
                read_write: texts(&data.resources.footprint.read_write)?,
                restored: vec![],
            });
            outcome.quote = Some(quoted(&data));
        }
        Ok(Answer {
            keeping: Some(outcome),
            ..Answer::default()
        })
    }

    fn info(&self) -> LedgerInfo {
        self.network.ledger(self.sequence, self.timestamp)
    }

    fn simulate(
        &self,
        call: &Call,
        mode: RecordingInvocationAuthMode,
    ) -> Fallible<(SorobanResources, Outcome)> {
        let recording = matches!(mode, RecordingInvocationAuthMode::Recording(_));
        let budget = self.network.budget()?;
        let mut diagnostics = vec![];
        let answer = invoke_host_function_in_recording_mode(
            &budget,
            true,
            &parse(&call.function)?,
            &parse(&call.source)?,
            mode,
            self.info(),
            Rc::new(self.ledger.clone()),
            SEED,
            &mut diagnostics,
        );
        let result = match answer {
            Ok(result) => result,
            Err(problem) => {
                let mut outcome = failure(&problem, &budget, &diagnostics)?;
                outcome.footprint = Some(Footprint::default());
                return Ok((nothing(), outcome));
            }
        };
        let resources = result.resources.clone();
        if let Err(problem) = &result.invoke_result {
            let mut outcome = failure(problem, &budget, &diagnostics)?;
            outcome.footprint = Some(footprint(&result)?);
            return Ok((resources, outcome));
        }
        let mut outcome = self.success(&budget, &result.ledger_changes, &diagnostics)?;
        outcome.value = result.invoke_result.as_ref().ok().map(text).transpose()?;
        outcome.events = texts(&result.contract_events)?;
        outcome.auth = if recording {
            texts(&result.auth)?
        } else {
            vec![]
        };
        outcome.footprint = Some(footprint(&result)?);
        outcome.disk_read_bytes = Some(resources.disk_read_bytes);
        outcome.write_bytes = Some(resources.write_bytes);
        Ok((resources, outcome))
    }

    /// What a node would tell of the simulation; nothing where it fails.
    fn quote(&self, call: &Call, mode: RecordingInvocationAuthMode) -> Fallible<Option<Quote>> {
        let simulated = simulate_invoke_host_function_op(
            Rc::new(self.ledger.clone()),
            &self.network.config(),
            &SimulationAdjustmentConfig::default_adjustment(),
            &self.info(),
            parse(&call.function)?,
            mode,
            &parse(&call.source)?,
            SEED,
            false,
        )?;
        Ok(simulated.transaction_data.as_ref().map(quoted))
    }

    fn apply(
        &mut self,
        call: &Call,
        auth: &[SorobanAuthorizationEntry],
        mut resources: SorobanResources,
        restored: Vec<u32>,
    ) -> Fallible<Outcome> {
        let wanted: Vec<LedgerKey> = restored
            .iter()
            .map(|&index| resources.footprint.read_write[index as usize].clone())
            .collect();
        resources.footprint = narrowed(&resources.footprint, call)?;
        let read_write = &resources.footprint.read_write;
        let indices: Vec<u32> = (0..read_write.len())
            .filter(|&index| wanted.contains(&read_write[index]))
            .map(|index| index as u32)
            .collect();
        let budget = self.network.budget()?;
        let mut loaded = vec![];
        let keys = resources
            .footprint
            .read_only
            .iter()
            .chain(read_write.iter());
        for key in keys {
            let until = wanted
                .contains(key)
                .then(|| self.sequence + self.network.min_persistent_ttl - 1);
            let size = |entry: &LedgerEntry, size| entry_size_for_rent(&budget, entry, size);
            let Some(entry) = self.ledger.load(key, self.sequence, until, size)? else {
                let error = Some(("archived".to_string(), 0));
                return Ok(Outcome {
                    error,
                    ..Outcome::default()
                });
            };
            loaded.push(entry);
        }
        let encoded_auth = auth.iter().map(bytes).collect::<Fallible<Vec<_>>>()?;
        let mut diagnostics = vec![];
        let budget = self.network.budget()?;
        let answer = invoke_host_function(
            &budget,
            true,
            bytes(&parse::<HostFunction>(&call.function)?)?,
            bytes(&resources)?,
            &indices,
            bytes(&parse::<AccountId>(&call.source)?)?,
            encoded_auth.into_iter(),
            self.info(),
            loaded.into_iter(),
            SEED.to_vec(),
            &mut diagnostics,
            None,
            Some(self.cache.clone()),
        );
        let result = match answer {
            Ok(result) => result,
            Err(problem) => return failure(&problem, &budget, &diagnostics),
        };
        let value = match &result.encoded_invoke_result {
            Ok(value) => value,
            Err(problem) => return failure(problem, &budget, &diagnostics),
        };
        let mut outcome = self.success(&budget, &result.ledger_changes, &diagnostics)?;
        outcome.value = Some(encode(value));
        outcome.events = result
            .encoded_contract_events
            .iter()
            .map(|e| encode(e))
            .collect();
        self.ledger.apply(&result.ledger_changes, self.sequence)?;
        Ok(outcome)
    }

    fn success(
        &self,
        budget: &Budget,
        changes: &[LedgerEntryChange],
        diagnostics: &[DiagnosticEvent],
    ) -> Fallible<Outcome> {
        let rents = extract_rent_changes(changes);
        Ok(Outcome {
            changes: changes.iter().map(change).collect::<Fallible<_>>()?,
            diagnostics: texts(diagnostics)?,
            instructions: budget.get_cpu_insns_consumed()?,
            rent: Some(compute_rent_fee(
                &rents,
                &self.network.rent(),
                self.sequence,
            )),
            ..Outcome::default()
        })
    }
}

fn quoted(data: &SorobanTransactionData) -> Quote {
    let SorobanResources {
        instructions,
        disk_read_bytes,
        write_bytes,
        ..
    } = data.resources;
    Quote(
        instructions,
        disk_read_bytes,
        write_bytes,
        data.resource_fee,
    )
}

fn failure(
    problem: &HostError,
    budget: &Budget,
    diagnostics: &[DiagnosticEvent],
) -> Fallible<Outcome> {
    let error = problem.error;
    let kind = if error.is_type(soroban_env_host::xdr::ScErrorType::Contract) {
        "Contract".to_string()
    } else {
        soroban_env_host::xdr::ScErrorType::VARIANTS
            .iter()
            .find(|kind| error.is_type(**kind))
            .map_or("unknown", |kind| kind.name())
            .to_string()
    };
    Ok(Outcome {
        error: Some((kind, error.get_code())),
        diagnostics: texts(diagnostics)?,
        instructions: budget.get_cpu_insns_consumed()?,
        ..Outcome::default()
    })
}

/// The footprint with the changes a call asks for.
fn narrowed(recorded: &LedgerFootprint, call: &Call) -> Fallible<LedgerFootprint> {
    let without = keys(&call.without)?;
    let demoted = keys(&call.read_only)?;
    let mut read_only: Vec<LedgerKey> = recorded.read_only.to_vec();
    read_only.extend(
        recorded
            .read_write
            .iter()
            .filter(|key| demoted.contains(key))
            .cloned(),
    );
    read_only.sort();
    let mut read_write: Vec<LedgerKey> = recorded.read_write.to_vec();
    read_write.retain(|key| !demoted.contains(key));
    for list in [&mut read_only, &mut read_write] {
        list.retain(|key| !without.contains(key));
    }
    Ok(LedgerFootprint {
        read_only: read_only.try_into()?,
        read_write: read_write.try_into()?,
    })
}

fn keys(encoded: &[String]) -> Fallible<Vec<LedgerKey>> {
    encoded.iter().map(|key| parse(key)).collect()
}

fn footprint(result: &InvokeHostFunctionRecordingModeResult) -> Fallible<Footprint> {
    Ok(Footprint {
        read_only: texts(&result.resources.footprint.read_only)?,
        read_write: texts(&result.resources.footprint.read_write)?,
        restored: result.restored_rw_entry_indices.clone(),
    })
}

fn change(change: &LedgerEntryChange) -> Fallible<Change> {
    let after = match &change.encoded_new_value {
        Some(entry) => Some(text(&LedgerEntry::from_xdr(entry, Limits::none())?.data)?),
        None => None,
    };
    let lives = change.ttl_change.as_ref();
    let lives = lives.map_or((0, 0), |ttl| {
        (ttl.old_live_until_ledger, ttl.new_live_until_ledger)
    });
    Ok(Change(encode(&change.encoded_key), after, lives.0, lives.1))
}

fn nothing() -> SorobanResources {
    SorobanResources {
        footprint: LedgerFootprint {
            read_only: vec![].try_into().expect("nothing always fits"),
            read_write: vec![].try_into().expect("nothing always fits"),
        },
        instructions: 0,
        disk_read_bytes: 0,
        write_bytes: 0,
    }
}

fn text(value: &impl WriteXdr) -> Fallible<String> {
    Ok(encode(&bytes(value)?))
}

fn texts<T: WriteXdr>(values: &[T]) -> Fallible<Vec<String>> {
    values.iter().map(text).collect()
}
