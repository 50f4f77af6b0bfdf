//! A contract that calls others: for scenarios about who allowed what, what is undone and what is
//! not possible. `relay.py` beside this folder says the same in Python.

#![no_std]
use soroban_sdk::auth::{
    Context, ContractContext, InvokerContractAuthEntry, SubContractInvocation,
};
use soroban_sdk::crypto::Hash;
use soroban_sdk::{
    contract, contracterror, contractevent, contractimpl, contracttype, panic_with_error,
    symbol_short, token, vec, Address, Env, IntoVal, Symbol, Val, Vec,
};

#[contracterror]
#[derive(Copy, Clone, Debug, Eq, PartialEq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Error {
    ChangedMind = 2,
    NotByMe = 3,
}

#[contracttype]
pub enum DataKey {
    Count,
}

#[contractevent(data_format = "single-value")]
pub struct Paid {
    pub amount: i128,
}

#[contractevent(data_format = "single-value")]
pub struct Tried {
    pub well: bool,
}

#[contract]
pub struct Relay;

#[contractimpl]
impl Relay {
    /// How many payments went well.
    pub fn count(env: &Env) -> u32 {
        env.storage().instance().get(&DataKey::Count).unwrap_or(0)
    }

    /// The owner has to allow this call and the transfer below it.
    pub fn pay_for(env: &Env, owner: Address, token: Address, to: Address, amount: i128) {
        owner.require_auth();
        Self::add_one(env);
        token::Client::new(env, &token).transfer(&owner, &to, &amount);
        Paid { amount }.publish(env);
    }

    /// One call that is allowed, two transfers below it.
    pub fn pay_twice(env: &Env, owner: Address, token: Address, to: Address, amount: i128) {
        owner.require_auth();
        let client = token::Client::new(env, &token);
        client.transfer(&owner, &to, &amount);
        client.transfer(&owner, &to, &amount);
    }

    /// Nothing to allow here: only the call below, or two below, needs it.
    pub fn pass_on(
        env: &Env,
        other: Address,
        owner: Address,
        token: Address,
        to: Address,
        amount: i128,
    ) {
        RelayClient::new(env, &other).pay_for(&owner, &token, &to, &amount);
    }

    /// Pay of the contract's own.
    pub fn pay_out(env: &Env, token: Address, to: Address, amount: i128) {
        token::Client::new(env, &token).transfer(&env.current_contract_address(), &to, &amount);
    }

    /// Another contract pays of this one's; it can if the call below it is allowed beforehand.
    pub fn have_it_paid(
        env: &Env,
        other: Address,
        token: Address,
        to: Address,
        amount: i128,
        allowed: bool,
    ) {
        let me = env.current_contract_address();
        if allowed {
            let args: Vec<Val> = (me.clone(), to.clone(), amount).into_val(env);
            let context = ContractContext {
                contract: token.clone(),
                fn_name: symbol_short!("transfer"),
                args,
            };
            env.authorize_as_current_contract(vec![
                env,
                InvokerContractAuthEntry::Contract(SubContractInvocation {
                    context,
                    sub_invocations: Vec::new(env),
                }),
            ]);
        }
        RelayClient::new(env, &other).pay_for(&me, &token, &to, &amount);
    }

    /// Pay, tell of it, and fail after all.
    pub fn fail(env: &Env, owner: Address, token: Address, to: Address, amount: i128) {
        Self::pay_for(env, owner, token, to, amount);
        panic_with_error!(env, Error::ChangedMind);
    }

    /// Let another contract pay, or fail, and go on either way; true if it went well.
    pub fn attempt(
        env: &Env,
        other: Address,
        name: Symbol,
        owner: Address,
        token: Address,
        to: Address,
        amount: i128,
    ) -> bool {
        Self::add_one(env);
        let args: Vec<Val> = (owner, token, to, amount).into_val(env);
        let result = env.try_invoke_contract::<(), soroban_sdk::Error>(&other, &name, args);
        Tried {
            well: result.is_ok(),
        }
        .publish(env);
        result.is_ok()
    }

    /// Try one payment, then make another.
    pub fn try_then_pay(
        env: &Env,
        other: Address,
        owner: Address,
        token: Address,
        to: Address,
        amount: i128,
    ) {
        let client = RelayClient::new(env, &other);
        let _ = client.try_fail(&owner, &token, &to, &amount);
        client.pay_for(&owner, &token, &to, &amount);
    }

    /// Have another contract call this one back, which it cannot.
    pub fn call_back(env: &Env, other: Address) {
        RelayClient::new(env, &other).calls(&env.current_contract_address());
    }

    pub fn calls(env: &Env, other: Address) {
        RelayClient::new(env, &other).count();
    }

    /// Good for as many calls as the signature says.
    #[allow(non_snake_case)]
    pub fn __check_auth(
        _env: Env,
        _payload: Hash<32>,
        signature: u32,
        contexts: Vec<Context>,
    ) -> Result<(), Error> {
        if signature == contexts.len() {
            Ok(())
        } else {
            Err(Error::NotByMe)
        }
    }
}

impl Relay {
    fn add_one(env: &Env) {
        env.storage()
            .instance()
            .set(&DataKey::Count, &(Self::count(env) + 1));
    }
}
