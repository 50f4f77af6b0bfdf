// Pays on a sandbox by the JavaScript SDK alone, and prints what it saw as one line of JSON.
// Arguments: the directory of the installed package, and the sandbox's URL.

import { createRequire } from 'node:module'

const [directory, url] = process.argv.slice(2)
const sdk = createRequire(`${directory}/package.json`)('@stellar/stellar-sdk')
const { Address, Asset, BASE_FEE, Contract, Keypair, Networks, Operation, TransactionBuilder } = sdk
const { authorizeEntry, nativeToScVal, rpc, scValToNative, xdr } = sdk

const server = new rpc.Server(url, { allowHttp: true })
const [payer, seller, sponsor] = [Keypair.random(), Keypair.random(), Keypair.random()]
const post = (path) => fetch(`${url}${path}`, { method: 'POST' })

// Accounts: by friendbot, as the SDK asks for one, and by the faucet.
const friendbot = await server.requestAirdrop(payer.publicKey())
for (const [key, usdc] of [[payer, 10], [seller, 0], [sponsor, 0]])
  await post(`/faucet?addr=${key.publicKey()}&usdc=${usdc}`)

const network = await server.getNetwork()
const usdc = new Asset('USDC', 'GBBD47IF6LWK7P7MDEVSCWR7DPUWV3NY3DTQEVFL4NAT4AQH3ZLLFLA5')
const token = new Contract(usdc.contractId(network.passphrase))
const transfer = (amount) =>
  token.call(
    'transfer',
    new Address(payer.publicKey()).toScVal(),
    new Address(seller.publicKey()).toScVal(),
    nativeToScVal(amount, { type: 'i128' }),
  )
const build = async (source, operation) =>
  new TransactionBuilder(await server.getAccount(source.publicKey()), {
    fee: BASE_FEE,
    networkPassphrase: network.passphrase,
  })
    .addOperation(operation)
    .setTimeout(60)
    .build()
const settle = async (transaction) => {
  const sent = await server.sendTransaction(transaction)
  const found = await server.pollTransaction(sent.hash, { attempts: 500, sleepStrategy: () => 20 })
  return { sent, found }
}

// The payer's own transaction: its signature authorizes the transfer.
const own = await server.prepareTransaction(await build(payer, transfer(25n)))
own.sign(payer)
const first = await settle(own)

// A sponsored one: the payer signs an authorization, the sponsor the transaction.
const bare = await build(sponsor, transfer(17n))
const simulated = await server.simulateTransaction(bare)
const { sequence } = await server.getLatestLedger()
const auth = await Promise.all(
  simulated.result.auth.map((entry) =>
    authorizeEntry(entry, payer, sequence + 100, network.passphrase),
  ),
)
const { func } = bare.operations[0]
const authorized = await build(sponsor, Operation.invokeHostFunction({ func, auth }))
const prepared = await server.prepareTransaction(authorized)
prepared.sign(sponsor)
const second = await settle(prepared)

// One that cannot be: the simulation says so.
const poor = await server.simulateTransaction(await build(payer, transfer(10n ** 12n)))

const events = await server.getEvents({
  startLedger: first.found.ledger,
  filters: [
    {
      type: 'contract',
      contractIds: [token.contractId()],
      topics: [[xdr.ScVal.scvSymbol('transfer').toXDR('base64'), '*', '*', '*']],
    },
  ],
})
const transactions = await server.getTransactions({ startLedger: first.found.ledger })
const entry = await server.getLedgerEntries(token.getFootprint())
const line = await server.getTrustline(seller.publicKey(), usdc)
const fees = await server.getFeeStats()

console.log(
  JSON.stringify({
    seller: seller.publicKey(),
    friendbot: friendbot.accountId(),
    network,
    isTestnet: network.passphrase === Networks.TESTNET,
    health: (await server.getHealth()).status,
    protocol: (await server.getVersionInfo()).protocolVersion,
    sent: [first.sent.status, second.sent.status],
    found: [first.found.status, second.found.status],
    returned: [first, second].map(({ found }) => scValToNative(found.returnValue) ?? null),
    metaVersion: second.found.resultMetaXdr.switch(),
    contractEvents: second.found.events.contractEventsXdr.flat().length,
    refusal: rpc.Api.isSimulationError(poor) ? poor.error : null,
    moved: events.events.map(({ value }) => String(scValToNative(value))),
    known: transactions.transactions.map(({ txHash }) => txHash),
    hashes: [first.sent.hash, second.sent.hash],
    entries: entry.entries.length,
    balance: line.balance().toString(),
    ledgersOfFees: fees.sorobanInclusionFee.ledgerCount,
    unknown: (await server.getTransaction('0'.repeat(64))).status,
  }),
)
