//! Codes, compiled before anything runs, as the network does: their compilation costs no one.

use soroban_env_host::budget::{AsBudget, Budget};
use soroban_env_host::xdr::ContractCodeEntry;
use soroban_env_host::{CompilationContext, Error, ErrorHandler, HostError, ModuleCache, Val};

#[derive(Clone)]
struct Compiler(Budget);

impl ErrorHandler for Compiler {
    fn map_err<T, E>(&self, result: Result<T, E>) -> Result<T, HostError>
    where
        Error: From<E>,
        E: std::fmt::Debug,
    {
        result.map_err(HostError::from)
    }

    fn error(&self, error: Error, _message: &str, _args: &[Val]) -> HostError {
        HostError::from(error)
    }
}

impl AsBudget for Compiler {
    fn as_budget(&self) -> &Budget {
        &self.0
    }
}

impl CompilationContext for Compiler {}

pub fn compiled<'a>(
    codes: impl Iterator<Item = &'a ContractCodeEntry>,
    budget: Budget,
    protocol: u32,
) -> Result<ModuleCache, HostError> {
    let compiler = Compiler(budget);
    let cache = ModuleCache::new(&compiler)?;
    for code in codes {
        cache.parse_and_cache_module_simple(&compiler, protocol, &code.code)?;
    }
    Ok(cache)
}
