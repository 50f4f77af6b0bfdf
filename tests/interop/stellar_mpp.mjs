// Answers each line of JSON on stdin with one on stdout: the SDK's own clients pay, its own server
// is paid. Argument: the directory that holds both packages.

import { createServer } from 'node:http'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'

const [, , sdk, mppxDirectory] = process.argv
const load = (directory, name) => import(pathToFileURL(`${directory}/dist/${name}.js`))
const client = await load(mppxDirectory, 'client/index')
const server = await load(mppxDirectory, 'server/index')
const charge = await load(sdk, 'charge/client/index')
const channel = await load(sdk, 'channel/client/index')
const seller = await load(sdk, 'charge/server/index')

const fetching = (methods) => client.Mppx.create({ methods, polyfill: false }).fetch

const told = async (response) => ({
  status: response.status,
  body: await response.text(),
  receipt: response.headers.get('payment-receipt'),
})

const operations = {
  charge: async ({ url, init, secret, mode, rpcUrl }) => {
    const fetch = fetching([charge.stellar.charge({ secretKey: secret, mode, rpcUrl })])
    return told(await fetch(url, init))
  },
  channel: async ({ url, commitmentSecret, address, rpcUrl, context }) => {
    const method = channel.stellar.channel({
      commitmentSecret,
      rpcUrl,
      allowedChannels: [address],
      store: server.Store.memory(),
    })
    return told(await fetching([method])(url, { context }))
  },
  serve: async ({ recipient, currency, rpcUrl, feePayer }) => {
    const mppx = server.Mppx.create({
      secretKey: 'a-secret-of-the-other-implementation',
      methods: [
        seller.stellar.charge({
          recipient,
          currency,
          network: 'stellar:testnet',
          rpcUrl,
          store: server.Store.memory(),
          ...(feePayer ? { feePayer: { envelopeSigner: feePayer } } : {}),
        }),
      ],
    })
    const listener = createServer(async (request, response) => {
      const asked = new Request(`http://${request.headers.host}${request.url}`, {
        method: request.method,
        headers: new Headers(request.headers),
      })
      const result = await mppx.charge({ amount: '0.01', description: 'Tea' })(asked)
      const answer =
        result.status === 402
          ? result.challenge
          : result.withReceipt(Response.json({ resource: 'paid' }))
      response.writeHead(answer.status, Object.fromEntries(answer.headers))
      response.end(Buffer.from(await answer.arrayBuffer()))
    })
    await new Promise((ready) => listener.listen(0, '127.0.0.1', ready))
    return `http://127.0.0.1:${listener.address().port}`
  },
}

for await (const line of createInterface({ input: process.stdin })) {
  const { operation, ...given } = JSON.parse(line)
  let answer
  try {
    answer = { result: await operations[operation](given) }
  } catch (error) {
    answer = { error: String(error.stack) }
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`)
}
process.exit(0)
